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

-- M20 active in four of the last eight ISO weeks
SELECT id FROM member m
WHERE (SELECT count(DISTINCT date_trunc('week', ts)) FROM ev e WHERE e.mid = m.id AND ts >= date_trunc('week', now()) - INTERVAL '7 weeks') >= 4;

-- M23 reachable, fewer than three messages in a week, none in a day
SELECT id FROM member m WHERE sms_ok
  AND (SELECT count(*) FROM touch t WHERE t.mid = m.id AND kind = 'sent' AND ts > now() - INTERVAL '7 days') < 3
  AND NOT EXISTS (SELECT 1 FROM touch t WHERE t.mid = m.id AND kind = 'sent' AND ts > now() - INTERVAL '24 hours');

-- M24 an unused coupon of 50 that expires in three days
SELECT id FROM member WHERE id IN (SELECT mid FROM coupon WHERE used_at IS NULL AND face >= 50 AND expires BETWEEN current_date AND current_date + 3);

-- M25 bought brand A, never brand B
SELECT id FROM member WHERE id IN (SELECT mid FROM paid WHERE brand = 'A') AND id NOT IN (SELECT mid FROM paid WHERE brand = 'B');

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

-- H35 spent in 90 days less than half of the 90 before
SELECT id FROM member m
WHERE coalesce((SELECT sum(amt) FROM paid o WHERE o.mid = m.id AND ts > now() - INTERVAL '90 days'), 0)
    < 0.5 * (SELECT sum(amt) FROM paid o WHERE o.mid = m.id AND ts > now() - INTERVAL '180 days' AND ts <= now() - INTERVAL '90 days');
