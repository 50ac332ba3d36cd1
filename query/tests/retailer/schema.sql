-- The tables of a small synthetic retailer.
CREATE TABLE member(id BIGINT PRIMARY KEY, gender TEXT, birthday DATE, city TEXT, tier TEXT, points INT, points_expire DATE, reg_at TIMESTAMP, source TEXT, email TEXT, fans BIGINT, role TEXT, inviter BIGINT, wx_follow_at TIMESTAMP, sms_ok BOOLEAN, lat DOUBLE PRECISION, lon DOUBLE PRECISION);
CREATE TABLE tag(mid BIGINT REFERENCES member, tag TEXT, set_at TIMESTAMP, expires_at TIMESTAMP);
CREATE TABLE orders(oid BIGINT, mid BIGINT REFERENCES member, brand TEXT, channel TEXT, store_id INT, ts TIMESTAMP, status TEXT, amt DECIMAL(12,2), refund DECIMAL(12,2));
CREATE TABLE items(oid BIGINT, sku INT, cat TEXT, qty INT, price DECIMAL(12,2));
CREATE TABLE store(store_id INT, lat DOUBLE PRECISION, lon DOUBLE PRECISION);
CREATE TABLE ev(mid BIGINT REFERENCES member, type TEXT, ts TIMESTAMP, sku INT, src TEXT);
CREATE TABLE touch(mid BIGINT REFERENCES member, camp TEXT, channel TEXT, kind TEXT, ts TIMESTAMP);
CREATE TABLE coupon(cid BIGINT, mid BIGINT REFERENCES member, got_at TIMESTAMP, used_at TIMESTAMP, expires DATE, face INT);
CREATE TABLE ident(mid BIGINT REFERENCES member, kind TEXT, val TEXT);
CREATE TABLE list(list_id INT, mid BIGINT REFERENCES member);
CREATE TABLE household(hid BIGINT, mid BIGINT REFERENCES member);
CREATE TABLE tier_hist(mid BIGINT REFERENCES member, tier TEXT, from_ts TIMESTAMP);
CREATE TABLE vehicle(mid BIGINT REFERENCES member, model TEXT, bought_on DATE);
CREATE TABLE membership_log(aud TEXT, mid BIGINT REFERENCES member, op TEXT, ts TIMESTAMP);
CREATE VIEW paid AS SELECT * FROM orders WHERE status='paid';
