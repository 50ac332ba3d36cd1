-- The tables of a small synthetic retailer.
CREATE TABLE member(id BIGINT PRIMARY KEY, gender TEXT, birthday DATE, city TEXT, tier TEXT, points INT, points_expire DATE, reg_at TIMESTAMP, source TEXT, email TEXT, fans BIGINT, role TEXT, inviter BIGINT, wx_follow_at TIMESTAMP, sms_ok BOOLEAN, lat DOUBLE PRECISION, lon DOUBLE PRECISION);
CREATE TABLE tag(mid BIGINT, tag TEXT, set_at TIMESTAMP, expires_at TIMESTAMP);
CREATE TABLE orders(oid BIGINT, mid BIGINT, brand TEXT, channel TEXT, store_id INT, ts TIMESTAMP, status TEXT, amt DECIMAL(12,2), refund DECIMAL(12,2));
CREATE TABLE items(oid BIGINT, sku INT, cat TEXT, qty INT, price DECIMAL(12,2));
CREATE TABLE store(store_id INT, lat DOUBLE PRECISION, lon DOUBLE PRECISION);
CREATE TABLE ev(mid BIGINT, type TEXT, ts TIMESTAMP, sku INT, src TEXT);
CREATE TABLE touch(mid BIGINT, camp TEXT, channel TEXT, kind TEXT, ts TIMESTAMP);
CREATE TABLE coupon(cid BIGINT, mid BIGINT, got_at TIMESTAMP, used_at TIMESTAMP, expires DATE, face INT);
CREATE TABLE ident(mid BIGINT, kind TEXT, val TEXT);
CREATE TABLE list(list_id INT, mid BIGINT);
CREATE TABLE household(hid BIGINT, mid BIGINT);
CREATE TABLE tier_hist(mid BIGINT, tier TEXT, from_ts TIMESTAMP);
CREATE TABLE vehicle(mid BIGINT, model TEXT, bought_on DATE);
CREATE TABLE membership_log(aud TEXT, mid BIGINT, op TEXT, ts TIMESTAMP);
CREATE VIEW paid AS SELECT * FROM orders WHERE status='paid';
