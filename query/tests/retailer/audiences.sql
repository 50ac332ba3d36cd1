-- The audiences of a retailer's marketing team, as this version answers them: one SELECT of ids each, at 2026-06-30 10:00:00.

-- S01 women in Shanghai, 25 to 34, gold and above
SELECT id FROM member WHERE gender = 'F' AND city = '上海' AND tier IN ('gold', 'black') AND age_in_years(birthday) BETWEEN 25 AND 34;

-- S02 any of some tags, none of others, none of them expired
SELECT id FROM member m
WHERE EXISTS (SELECT 1 FROM tag t WHERE t.mid = m.id AND tag IN ('pregnant', 'newborn') AND (expires_at IS NULL OR expires_at > now()))
  AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.mid = m.id AND tag IN ('staff', 'blacklist') AND (expires_at IS NULL OR expires_at > now()));

-- S03 not in Beijing or Shanghai, or unknown
SELECT id FROM member WHERE city IS NULL OR city NOT IN ('北京', '上海');

-- S04 a birthday in the next seven days
SELECT id FROM member WHERE days_to_birthday(birthday) < 7;

-- S05 registered yesterday by QR code
SELECT id FROM member WHERE CAST(reg_at AS DATE) = current_date - 1 AND source = 'qr';

-- S06 followed on WeChat in the last 48 hours, not registered
SELECT id FROM member WHERE wx_follow_at > now() - INTERVAL '48 hours' AND reg_at IS NULL;

-- S07 a thousand points that expire this month
SELECT id FROM member WHERE points >= 1000 AND date_trunc('month', points_expire) = date_trunc('month', current_date);

-- S08 on an imported list of phones, and reachable by SMS
SELECT id FROM member WHERE sms_ok AND id IN (SELECT mid FROM list WHERE list_id = 1) AND id IN (SELECT mid FROM ident WHERE kind = 'phone');

-- S09 a domain of mail addresses
SELECT id FROM member WHERE lower(email) LIKE '%@corp.com';

-- S10 one audience without another
SELECT id FROM member WHERE gender = 'F' AND city = '上海' AND tier IN ('gold', 'black') AND age_in_years(birthday) BETWEEN 25 AND 34
  AND id NOT IN (SELECT mid FROM list WHERE list_id = 2);

-- M11 three paid orders in 90 days
SELECT id FROM member m WHERE (SELECT count(*) FROM paid o WHERE o.mid = m.id AND ts > now() - INTERVAL '90 days' AND ts <= now()) >= 3;

-- M12 one order ever, more than 30 days ago
SELECT id FROM member WHERE id IN (SELECT mid FROM paid GROUP BY mid HAVING count(*) = 1 AND max(ts) < now() - INTERVAL '30 days');

-- M13 registered for 30 days, never bought
SELECT id FROM member m WHERE reg_at < now() - INTERVAL '30 days' AND NOT EXISTS (SELECT 1 FROM paid o WHERE o.mid = m.id);

-- M14 spent ten thousand in twelve months, refunds taken off
SELECT id FROM member m
WHERE (SELECT sum(amt - refund) FROM orders o WHERE o.mid = m.id AND status IN ('paid', 'refunded') AND ts > now() - INTERVAL '12 months') >= 10000;

-- M15 bought 180 to 90 days ago, and not since
SELECT id FROM member WHERE id IN (SELECT mid FROM paid WHERE ts > now() - INTERVAL '180 days' AND ts <= now() - INTERVAL '90 days')
  AND id NOT IN (SELECT mid FROM paid WHERE ts > now() - INTERVAL '90 days');

-- M16 a cart of the last 24 hours, and that article not bought since
SELECT id FROM member WHERE id IN (
  SELECT e.mid FROM ev e WHERE e.type = 'add_cart' AND e.ts > now() - INTERVAL '24 hours'
  AND NOT EXISTS (SELECT 1 FROM paid o JOIN items i USING (oid) WHERE o.mid = e.mid AND i.sku = e.sku AND o.ts >= e.ts));

-- M17 the last order was in a store within five kilometres of a point
SELECT id FROM member WHERE id IN (
  SELECT mid FROM paid GROUP BY mid HAVING arg_max(channel, ts) = 'store' AND arg_max(store_id, ts) IN (
    SELECT store_id FROM store WHERE 2 * 6371 * asin(sqrt(power(sin(radians(lat - 31.23) / 2), 2)
      + cos(radians(31.23)) * cos(radians(lat)) * power(sin(radians(lon - 121.47) / 2), 2))) <= 5));

-- M18 milk in the first order
SELECT id FROM member WHERE id IN (
  SELECT mid FROM paid GROUP BY mid HAVING arg_min(oid, ts) IN (SELECT oid FROM items WHERE cat = 'milk'));

-- M19 orders of 500 on average, of two categories or more, in 180 days
SELECT id FROM member WHERE id IN (
    SELECT mid FROM paid WHERE ts > now() - INTERVAL '180 days' AND oid IN (SELECT oid FROM items) GROUP BY mid HAVING avg(amt) >= 500)
  AND id IN (
    SELECT o.mid FROM paid o JOIN items i USING (oid) WHERE o.ts > now() - INTERVAL '180 days' GROUP BY o.mid HAVING count(DISTINCT cat) >= 2);

-- M20 active in four of the last eight ISO weeks
SELECT id FROM member m
WHERE (SELECT count(DISTINCT date_trunc('week', ts)) FROM ev e WHERE e.mid = m.id AND ts >= date_trunc('week', now()) - INTERVAL '7 weeks') >= 4;

-- M21 skincare is the category bought most, of several the first by name
SELECT id FROM member WHERE id IN (
  SELECT mid FROM (SELECT o.mid, cat, row_number() OVER (PARTITION BY o.mid ORDER BY count(*) DESC, cat) AS rn
                   FROM paid o JOIN items USING (oid) GROUP BY o.mid, cat) t
  WHERE rn = 1 AND cat = 'skincare');

-- M22 opened two of the last five messages, clicked none
SELECT id FROM member WHERE id IN (
  WITH s AS (SELECT mid, camp, row_number() OVER (PARTITION BY mid ORDER BY ts DESC, camp) AS rn FROM touch WHERE kind = 'sent')
  SELECT s.mid FROM s WHERE rn <= 5 GROUP BY s.mid
  HAVING count(DISTINCT camp) FILTER (WHERE EXISTS (SELECT 1 FROM touch t WHERE t.mid = s.mid AND t.camp = s.camp AND kind = 'open')) >= 2
    AND count(*) FILTER (WHERE EXISTS (SELECT 1 FROM touch t WHERE t.mid = s.mid AND t.camp = s.camp AND kind = 'click')) = 0);

-- M23 reachable, fewer than three messages in a week, none in a day
SELECT id FROM member m WHERE sms_ok
  AND (SELECT count(*) FROM touch t WHERE t.mid = m.id AND kind = 'sent' AND ts > now() - INTERVAL '7 days') < 3
  AND NOT EXISTS (SELECT 1 FROM touch t WHERE t.mid = m.id AND kind = 'sent' AND ts > now() - INTERVAL '24 hours');

-- M24 an unused coupon of 50 that expires in three days
SELECT id FROM member WHERE id IN (SELECT mid FROM coupon WHERE used_at IS NULL AND face >= 50 AND expires BETWEEN current_date AND current_date + 3);

-- M25 bought brand A, never brand B
SELECT id FROM member WHERE id IN (SELECT mid FROM paid WHERE brand = 'A') AND id NOT IN (SELECT mid FROM paid WHERE brand = 'B');

-- M26 rose to gold in the last 30 days
SELECT id FROM member WHERE id IN (
  SELECT mid FROM (SELECT mid, tier, from_ts, lag(tier) OVER (PARTITION BY mid ORDER BY from_ts) AS p FROM tier_hist) t
  WHERE tier = 'gold' AND p IN ('basic', 'silver') AND from_ts > now() - INTERVAL '30 days');

-- M27 somebody else of the household bought diapers
SELECT id FROM member WHERE id IN (SELECT mid FROM household WHERE hid IN (SELECT hid FROM household WHERE mid IN
    (SELECT mid FROM paid WHERE oid IN (SELECT oid FROM items WHERE cat = 'diaper'))))
  AND id NOT IN (SELECT mid FROM paid WHERE oid IN (SELECT oid FROM items WHERE cat = 'diaper'));

-- M28 a car of 36 to 40 months, no service in six
SELECT id FROM member WHERE id IN (SELECT mid FROM vehicle WHERE bought_on BETWEEN current_date - INTERVAL '40 months' AND current_date - INTERVAL '36 months')
  AND id NOT IN (SELECT mid FROM ev WHERE type = 'service' AND ts > now() - INTERVAL '6 months');

-- M29 two devices, and both WeChat and phone known
SELECT id FROM member WHERE id IN (SELECT mid FROM ident GROUP BY mid
  HAVING count(*) FILTER (WHERE kind = 'device') >= 2 AND count(*) FILTER (WHERE kind = 'openid') > 0 AND count(*) FILTER (WHERE kind = 'phone') > 0);

-- H30 the best fifth by the last order, by how many, and by how much
SELECT id FROM member WHERE id IN (
  SELECT mid FROM (
    SELECT mid, ntile(5) OVER (ORDER BY max(ts), mid) AS r, ntile(5) OVER (ORDER BY count(*), mid) AS f,
           ntile(5) OVER (ORDER BY sum(amt - refund), mid) AS m
    FROM paid WHERE ts > now() - INTERVAL '365 days' GROUP BY mid) t
  WHERE r = 5 AND f = 5 AND m = 5);

-- H31 the hundredth of each city that spent most, at most 500 of each
SELECT id FROM member WHERE id IN (
  SELECT id FROM (
    SELECT m.id, row_number() OVER (PARTITION BY city ORDER BY s DESC, id) AS rn, count(*) OVER (PARTITION BY city) AS n
    FROM member m JOIN (SELECT mid, sum(amt) AS s FROM paid GROUP BY mid) x ON x.mid = m.id) t
  WHERE rn <= least(500, ceil(n * 0.01)));

-- H32 from a view of the last 30 days to a cart in seven days, and never to a payment
SELECT id FROM member WHERE id IN (
  SELECT mid FROM ev WHERE ts > now() - INTERVAL '30 days' GROUP BY mid
  HAVING window_funnel(INTERVAL '7 days', 'strict_increase', ts, type = 'view', type = 'add_cart', type = 'pay') = 2);

-- H33 a view and within a day a cart of the same article, without a payment between
SELECT id FROM member WHERE id IN (
  SELECT a.mid FROM ev a JOIN ev b ON b.mid = a.mid AND b.sku = a.sku AND b.type = 'add_cart' AND b.ts > a.ts AND b.ts <= a.ts + INTERVAL '24 hours'
  WHERE a.type = 'view' AND NOT EXISTS (SELECT 1 FROM ev c WHERE c.mid = a.mid AND c.type = 'pay' AND c.ts > a.ts AND c.ts < b.ts));

-- H34 overdue by half of the time that is usual between orders
SELECT id FROM member WHERE id IN (
  SELECT mid FROM (SELECT mid, ts, extract(epoch FROM ts) - extract(epoch FROM lag(ts) OVER w) AS g FROM paid
                   WINDOW w AS (PARTITION BY mid ORDER BY ts)) t
  GROUP BY mid HAVING count(*) >= 3 AND extract(epoch FROM now()) - extract(epoch FROM max(ts)) > 1.5 * median(g));

-- H35 spent in 90 days less than half of the 90 before
SELECT id FROM member m
WHERE coalesce((SELECT sum(amt) FROM paid o WHERE o.mid = m.id AND ts > now() - INTERVAL '90 days'), 0)
    < 0.5 * (SELECT sum(amt) FROM paid o WHERE o.mid = m.id AND ts > now() - INTERVAL '180 days' AND ts <= now() - INTERVAL '90 days');

-- H36 bought in the last 14 days after 180 days without an order
SELECT id FROM member WHERE id IN (
  SELECT mid FROM (SELECT mid, ts, lag(ts) OVER (PARTITION BY mid ORDER BY ts) AS p FROM paid) t
  WHERE ts > now() - INTERVAL '14 days' AND ts >= p + INTERVAL '180 days');

-- H37 the last click in the seven days before the first order was of a campaign
SELECT id FROM member WHERE id IN (
  SELECT f.mid FROM (SELECT mid, min(ts) AS ts FROM paid GROUP BY mid) f
  JOIN touch t ON t.mid = f.mid AND t.kind = 'click' AND t.ts <= f.ts AND t.ts > f.ts - INTERVAL '7 days'
  GROUP BY f.mid HAVING arg_max(t.camp, t.ts) = 'C1' AND arg_max(t.channel, t.ts) = 'wechat');

-- H38 bought milk, but not what goes best with it
SELECT id FROM member WHERE id IN (
  WITH b AS (SELECT DISTINCT mid, cat FROM paid JOIN items USING (oid)),
  best AS (SELECT y.cat FROM b x JOIN b y ON x.mid = y.mid AND x.cat = 'milk' AND y.cat <> 'milk'
           GROUP BY y.cat HAVING count(*) >= 50
           ORDER BY count(*) * 1.0 / (SELECT count(*) FROM b z WHERE z.cat = y.cat) DESC, 1 LIMIT 1)
  SELECT mid FROM b WHERE cat = 'milk' AND mid NOT IN (SELECT mid FROM b WHERE cat = (SELECT cat FROM best)));

-- H39 many fans, or ten who were invited and bought; and a score of both
SELECT id FROM member m
WHERE (coalesce(fans, 0) >= 100000
    OR (SELECT count(*) FROM member i WHERE i.inviter = m.id AND i.id IN (SELECT mid FROM paid)) >= 10)
  AND 0.6 * log10(greatest(coalesce(fans, 0), 1))
    + 0.4 * (SELECT count(*) FROM member i WHERE i.inviter = m.id AND i.id IN (SELECT mid FROM paid)) >= 3;

-- H40 the 200 whose tags are most like the ten of a list that most on it have
SELECT id FROM member WHERE id IN (
  WITH seed AS (SELECT mid FROM list WHERE list_id = 1),
  top AS (SELECT tag FROM tag WHERE mid IN (SELECT mid FROM seed) GROUP BY tag ORDER BY count(DISTINCT mid) DESC, tag LIMIT 10)
  SELECT mid FROM tag WHERE mid NOT IN (SELECT mid FROM seed) GROUP BY mid
  ORDER BY count(DISTINCT tag) FILTER (WHERE tag IN (SELECT tag FROM top)) * 1.0
    / (10 + count(DISTINCT tag) FILTER (WHERE tag NOT IN (SELECT tag FROM top))) DESC, mid LIMIT 200);

-- H41 an arm of 45 in 100 by a salted hash
SELECT id FROM member WHERE tier IN ('silver', 'gold', 'black') AND id NOT IN (SELECT mid FROM list WHERE list_id = 2)
  AND CAST('0x' || substr(md5('exp42' || id), 1, 8) AS BIGINT) % 10000 < 4500;

-- H42 entered an audience yesterday, and still inside
SELECT id FROM member WHERE id IN (
  SELECT mid FROM membership_log WHERE aud = 'lapsing' GROUP BY mid
  HAVING arg_max(op, ts) = 'enter' AND max(ts) FILTER (WHERE op = 'enter') >= current_date - 1
    AND max(ts) FILTER (WHERE op = 'enter') < current_date);
