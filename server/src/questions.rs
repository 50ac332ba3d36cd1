//! The member questions of the benchmark, in SQL that DuckDB, ClickHouse and MusterDB all take.

/// Name and text of each question, for the plain population.
pub(crate) const QUESTIONS: [(&str, &str); 10] = [
    ("tag1", "SELECT count(*) FROM members WHERE t00"),
    ("tag_and3", "SELECT count(*) FROM members WHERE t00 AND t01 AND NOT t02"),
    ("tag_or8", "SELECT count(*) FROM members WHERE t10 OR t11 OR t12 OR t13 OR t14 OR t15 OR t16 OR t17"),
    (
        "demo",
        "SELECT count(*) FROM members WHERE gender='f' AND city IN ('city_000','city_001','city_002','city_003','city_004') AND tier IN ('gold','black') AND NOT t03",
    ),
    ("range1", "SELECT count(*) FROM members WHERE spend_cents >= 50000"),
    (
        "value_recent",
        "SELECT count(*) FROM members WHERE tier IN ('gold','black','silver') AND spend_cents >= 50000 AND last_active_at >= TIMESTAMP '2026-11-01 00:00:00' - INTERVAL '30' DAY",
    ),
    (
        "mix8",
        "SELECT count(*) FROM members WHERE (t04 OR t05 OR t06) AND NOT t02 AND gender='f' AND birth BETWEEN DATE '1990-01-01' AND DATE '2001-12-31' AND points BETWEEN 500 AND 5000 AND channel <> 'sms' AND registered_at >= TIMESTAMP '2026-11-01 00:00:00' - INTERVAL '730' DAY AND city IN ('city_000','city_003','city_010','city_020','city_100')",
    ),
    (
        "profile_city",
        "SELECT city, count(*) FROM members WHERE t00 AND tier='gold' GROUP BY city ORDER BY 2 DESC",
    ),
    (
        "profile_tier_gender",
        "SELECT tier, gender, count(*), avg(spend_cents) FROM members WHERE t01 AND channel='wechat' GROUP BY 1, 2",
    ),
    (
        "top100",
        "SELECT id, spend_cents FROM members WHERE t03 AND city='city_000' ORDER BY spend_cents DESC, id LIMIT 100",
    ),
];

/// Questions about the orders of members, where the population has them: rows that belong to members, with the sum of amounts
/// kept.
pub(crate) const EVENTS: [(&str, &str); 8] = [
    (
        "ev_recent2",
        "SELECT count(*) FROM members WHERE id IN (SELECT member_id FROM orders WHERE ordered_at >= TIMESTAMP '2026-11-01 00:00:00' - INTERVAL '30' DAY GROUP BY member_id HAVING count(*) >= 2)",
    ),
    (
        "ev_sum90cat",
        "SELECT count(*) FROM members WHERE id IN (SELECT member_id FROM orders WHERE ordered_at >= TIMESTAMP '2026-11-01 00:00:00' - INTERVAL '90' DAY AND category = 3 GROUP BY member_id HAVING sum(amount_cents) >= 20000)",
    ),
    (
        "ev_lapsed",
        "SELECT count(*) FROM members WHERE id IN (SELECT member_id FROM orders) AND id NOT IN (SELECT member_id FROM orders WHERE ordered_at >= TIMESTAMP '2026-11-01 00:00:00' - INTERVAL '180' DAY) AND t00",
    ),
    (
        "ev_full",
        "SELECT count(*) FROM members WHERE id IN (SELECT member_id FROM orders GROUP BY member_id HAVING sum(amount_cents) >= 50000 AND count(*) >= 3)",
    ),
    (
        "ev_categories",
        "SELECT category, count(*), sum(amount_cents) FROM orders WHERE member_id IN (SELECT id FROM members WHERE tier='gold' AND t00) GROUP BY category ORDER BY 2 DESC LIMIT 10",
    ),
    (
        "ev_funnel",
        "SELECT count(*) FROM members WHERE id IN (SELECT member_id FROM orders WHERE category < 3 GROUP BY member_id HAVING window_funnel(INTERVAL '24' HOUR, ordered_at, category = 0, category = 1, category = 2) = 3)",
    ),
    (
        "ev_second",
        "SELECT count(*) FROM (SELECT ordered_at, lag(ordered_at) OVER (PARTITION BY member_id ORDER BY ordered_at) AS before, row_number() OVER (PARTITION BY member_id ORDER BY ordered_at) AS number FROM orders) o WHERE number = 2 AND ordered_at <= before + INTERVAL '30' DAY",
    ),
    (
        "ev_retention",
        "WITH firsts AS (SELECT member_id, date_trunc('month', min(ordered_at)) AS cohort FROM orders GROUP BY member_id) SELECT cohort, date_trunc('month', ordered_at) AS month, count(DISTINCT o.member_id) FROM orders o JOIN firsts f ON f.member_id = o.member_id GROUP BY 1, 2 ORDER BY 1, 2",
    ),
];

/// The same question for a population that keeps its tags in a TEXT[] column: `t07` becomes `'t07' = ANY(tags)`, or
/// with Zipf tags `'tag_00007' = ANY(tags)`.
pub(crate) fn with_tag_lists(question: &str, zipf: bool) -> String {
    let bytes = question.as_bytes();
    let word = |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let mut text = String::with_capacity(question.len() * 2);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &question[at..];
        let tag =
            rest.strip_prefix('t').and_then(|digits| digits.get(..2)).and_then(|d| d.parse::<u8>().ok());
        match tag {
            Some(k) if !word(at + 3) && (at == 0 || !word(at - 1)) => {
                let name = if zipf { format!("tag_{k:05}") } else { format!("t{k:02}") };
                text += &format!("'{name}' = ANY(tags)");
                at += 3;
            }
            _ => {
                text.push(char::from(bytes[at]));
                at += 1;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_rewritten_and_nothing_else() {
        assert_eq!(
            with_tag_lists(QUESTIONS[1].1, false),
            "SELECT count(*) FROM members WHERE 't00' = ANY(tags) AND 't01' = ANY(tags) AND NOT 't02' = ANY(tags)"
        );
        assert_eq!(with_tag_lists("t07", true), "'tag_00007' = ANY(tags)");
        assert_eq!(with_tag_lists(QUESTIONS[4].1, true), QUESTIONS[4].1);
        assert!(QUESTIONS.iter().all(|(_, text)| text.is_ascii()));
    }
}
