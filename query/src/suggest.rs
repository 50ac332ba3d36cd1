//! `did you mean "city"?`: the nearest name, if one is near.

/// The advice for a name that is not among `known`: the nearest one, or all of them where they are few.
pub(crate) fn advice<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    what: &str,
) -> Option<String> {
    let distance_max = (name.chars().count() / 3).max(1);
    let nearest = known
        .clone()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, candidate)) = nearest {
        return Some(format!("did you mean {}?", quoted(candidate)));
    }
    let all: Vec<&str> = known.take(LISTED_MAX + 1).collect();
    match all.len() {
        0 => None,
        1..=LISTED_MAX => Some(format!("{what} {}", all.join(", "))),
        _ => Some(format!("{what} {}, …", all[..LISTED_MAX].join(", "))),
    }
}

const LISTED_MAX: usize = 12;

/// The name as a message shows it: always in quotes, so that a name that needs them in SQL can be copied.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Letters to insert, delete, change or swap, upper and lower case alike (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        let known = ["city", "Birth", "spend"];
        let advice = |name| advice(name, known.into_iter(), "the columns are").unwrap();
        assert_eq!(advice("cty"), "did you mean \"city\"?");
        assert_eq!(advice("ctiy"), "did you mean \"city\"?");
        assert_eq!(advice("birth"), "did you mean \"Birth\"?");
        assert_eq!(advice("zzz"), "the columns are city, Birth, spend");
    }
}
