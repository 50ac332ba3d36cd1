"""MusterDB from Python, by redis-py: python3 python.py [port]"""

import sys

import redis

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 7878
muster = redis.Redis(
    host="127.0.0.1",
    port=PORT,
    protocol=3,  # maps, sets and doubles come as such
    decode_responses=True,
    # username="app", password="secret",  # where the server asks who it is
)

# Members and an audience to ask about.
muster.execute_command("SQL", "CREATE TABLE IF NOT EXISTS people (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[])")

# Writes in a pipeline share a sync, and each has its own reply. MULTI is not spoken: transaction=False.
writes = muster.pipeline(transaction=False)
for key in range(1, 2501):
    writes.execute_command("SET", "people", key, "city", "Lima" if key % 2 else "Kyoto")
    writes.execute_command("TAG", "people", key, "new")
replies = writes.execute(raise_on_error=False)
refused = [reply for reply in replies if isinstance(reply, redis.ResponseError)]
print("written:", len(replies) - len(refused), "refused:", len(refused))

muster.execute_command("SQL", "CREATE OR REPLACE STATIC AUDIENCE lima AS SELECT id FROM people WHERE city = 'Lima'")
print("count:", muster.execute_command("COUNT", "lima"))
print("contains 1, 2, 9999:", muster.execute_command("CONTAINS", "lima", 1, 2, 9999))

# All members, a page at a time: the first value is the cursor of the next page, or None after the last.
keys, cursor = [], None
while True:
    after = ["AFTER", cursor] if cursor is not None else []
    cursor, page = muster.execute_command("MEMBERS", "lima", *after, "LIMIT", 1000)
    keys += page
    if cursor is None:
        break
print("members:", len(keys))

# The first row has the columns' names.
question = "SELECT city, count(*) FROM people WHERE id <= $1 GROUP BY city ORDER BY city"
header, *rows = muster.execute_command("SQL", question, 100)
print("rows:", [dict(zip(header, row)) for row in rows])

try:
    muster.execute_command("COUNT", "nobody")
except redis.ResponseError as error:  # a connection that is lost is redis.ConnectionError
    print("refused:", error)
