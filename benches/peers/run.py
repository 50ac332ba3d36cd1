#!/usr/bin/env python3
"""Times the benchmark's member questions on MusterDB, DuckDB and ClickHouse, in one run on one machine.

    run.py load --parquet DIR --work DIR      members.parquet into all three, with seconds and bytes on disk
    run.py ask  --work DIR [--cold]           a table of medians, ratios and targets; every answer checked
    run.py sets --work DIR                    OVERLAP of twenty tags and PROFILE of an audience, beside bitmaps and scans
    run.py plan --work DIR                    how long EXPLAIN takes: an upper bound of parsing, binding and planning
    run.py writes --parquet DIR --work DIR    the same upserts, each synced, on MusterDB, DuckDB and SQLite: members a second
    run.py events --parquet DIR --work DIR    orders.parquet into all three beside the members, and questions about them
    run.py like --work DIR                    makes a text column of a million values for 100 M members, asks LIKE of it

Needs `pip install duckdb chdb` and a release build of `muster` (or --muster PATH).

How it is fair: each engine runs with its defaults, on all cores, from warm pages, alone on the machine: one engine at a
time, in a process of its own that ends before the next begins, so that no engine's caches take the memory of another.
The engines take turns question by question, so that a machine that slows down slows all of them. Each process asks its
question twice to warm up, then at least 15 times and for at least a second: the rule of `muster bench` (one that takes seconds at least three times
and for 20 seconds; one that takes longer is asked twice, and the faster counts). ClickHouse answers
in two forms where there are two: scanning its table, and from bitmaps built beforehand as its users do it; the faster one
counts. With --cold each question is asked once, of files that the system was told to forget: of MusterDB the whole
process is timed, of the others the question alone, in a process that has just opened its tables. What it does not do: tune, or repeat a run until it pleases.
"""
import argparse
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOW = "TIMESTAMP '2026-11-01 00:00:00'"
DICTIONARY_COLUMNS = ["gender", "city", "tier", "channel"]
NUMBER_COLUMNS = [
    "birth", "registered_at", "last_active_at", "points", "followers", "orders_count", "spend_cents",
]
TAGS = [f"t{k:02d}" for k in range(32)]

# The same text for all three, except in the bitmaps below.
QUESTIONS = {
    "tag1": "SELECT count(*) FROM members WHERE t00",
    "tag_and3": "SELECT count(*) FROM members WHERE t00 AND t01 AND NOT t02",
    "tag_or8": "SELECT count(*) FROM members WHERE "
    "t10 OR t11 OR t12 OR t13 OR t14 OR t15 OR t16 OR t17",
    "demo": "SELECT count(*) FROM members WHERE gender='f' "
    "AND city IN ('city_000','city_001','city_002','city_003','city_004') "
    "AND tier IN ('gold','black') AND NOT t03",
    "range1": "SELECT count(*) FROM members WHERE spend_cents >= 50000",
    "value_recent": "SELECT count(*) FROM members WHERE tier IN ('gold','black','silver') "
    f"AND spend_cents >= 50000 AND last_active_at >= {NOW} - INTERVAL '30' DAY",
    "mix8": "SELECT count(*) FROM members WHERE (t04 OR t05 OR t06) AND NOT t02 AND gender='f' "
    "AND birth BETWEEN DATE '1990-01-01' AND DATE '2001-12-31' AND points BETWEEN 500 AND 5000 "
    f"AND channel <> 'sms' AND registered_at >= {NOW} - INTERVAL '730' DAY "
    "AND city IN ('city_000','city_003','city_010','city_020','city_100')",
    "profile_city": "SELECT city, count(*) FROM members WHERE t00 AND tier='gold' "
    "GROUP BY city ORDER BY 2 DESC",
    "profile_tier_gender": "SELECT tier, gender, count(*), avg(spend_cents) FROM members "
    "WHERE t01 AND channel='wechat' GROUP BY 1, 2",
    "top100": "SELECT id, spend_cents FROM members WHERE t03 AND city='city_000' "
    "ORDER BY spend_cents DESC, id LIMIT 100",
}


# Questions about orders: as `muster bench` asks them, and the peers' best form where it is another.
HABITS = {
    "ev_recent2": (
        f"SELECT member_id FROM orders WHERE ordered_at >= {NOW} - INTERVAL '30' DAY GROUP BY member_id HAVING count(*) >= 2", 60),
    "ev_sum90cat": (
        f"SELECT member_id FROM orders WHERE ordered_at >= {NOW} - INTERVAL '90' DAY AND category = 3 "
        "GROUP BY member_id HAVING sum(amount_cents) >= 20000", 30),
    "ev_full": (
        "SELECT member_id FROM orders GROUP BY member_id HAVING sum(amount_cents) >= 50000 AND count(*) >= 3", 1_000),
}
EVENTS = {
    name: (f"SELECT count(*) FROM members WHERE id IN ({habit})", f"SELECT count(*) FROM ({habit})", target)
    for name, (habit, target) in HABITS.items()
}
LAPSED = (
    "SELECT count(*) FROM members WHERE id IN (SELECT member_id FROM orders) AND id NOT IN (SELECT member_id FROM orders "
    f"WHERE ordered_at >= {NOW} - INTERVAL '180' DAY) AND t00"
)
CATEGORIES = (
    "SELECT category, count(*), sum(amount_cents) FROM orders WHERE member_id IN (SELECT id FROM members "
    "WHERE tier='gold' AND t00) GROUP BY category ORDER BY 2 DESC LIMIT 10"
)
EVENTS |= {"ev_lapsed": (LAPSED, LAPSED, 2_000), "ev_categories": (CATEGORIES, CATEGORIES, 15)}
# Rows made of rows: each peer in the form in which it is fastest.
STEPS = "category = 0, category = 1, category = 2"
IN_A_DAY = "BETWEEN {0}.t AND a.t + INTERVAL '24' HOUR"
EVENTS |= {
    "ev_funnel": (
        "SELECT count(*) FROM members WHERE id IN (SELECT member_id FROM orders WHERE category < 3 GROUP BY member_id "
        f"HAVING window_funnel(INTERVAL '24' HOUR, ordered_at, {STEPS}) = 3)",
        {
            "duckdb": "WITH a AS (SELECT member_id, ordered_at t FROM orders WHERE category = 0), b AS (SELECT member_id, ordered_at t "
            "FROM orders WHERE category = 1), c AS (SELECT member_id, ordered_at t FROM orders WHERE category = 2) SELECT "
            f"count(DISTINCT a.member_id) FROM a JOIN b ON b.member_id = a.member_id AND b.t {IN_A_DAY.format('a')} "
            f"JOIN c ON c.member_id = a.member_id AND c.t {IN_A_DAY.format('b')}",
            "clickhouse": "SELECT count() FROM (SELECT member_id FROM orders WHERE category < 3 GROUP BY member_id "
            f"HAVING windowFunnel(86400)(toDateTime(ordered_at), {STEPS}) = 3)",
        },
        15,
    ),
    "ev_second": (
        "SELECT count(*) FROM (SELECT ordered_at, lag(ordered_at) OVER (PARTITION BY member_id ORDER BY ordered_at) AS before, "
        "row_number() OVER (PARTITION BY member_id ORDER BY ordered_at) AS number FROM orders) o "
        "WHERE number = 2 AND ordered_at <= before + INTERVAL '30' DAY",
        {
            "duckdb": "SELECT count(*) FROM (SELECT min(ordered_at, 2) AS t FROM orders GROUP BY member_id) WHERE t[2] <= t[1] + INTERVAL 30 DAY",
            "clickhouse": "SELECT count() FROM (SELECT groupArraySorted(2)(ordered_at) AS t FROM orders GROUP BY member_id) "
            "WHERE length(t) = 2 AND t[2] <= t[1] + INTERVAL 30 DAY",
        },
        15,
    ),
    "ev_retention": (
        "WITH firsts AS (SELECT member_id, date_trunc('month', min(ordered_at)) AS cohort FROM orders GROUP BY member_id) "
        "SELECT cohort, date_trunc('month', ordered_at) AS month, count(DISTINCT o.member_id) FROM orders o "
        "JOIN firsts f ON f.member_id = o.member_id GROUP BY 1, 2 ORDER BY 1, 2",
        {
            "duckdb": "WITH firsts AS (SELECT member_id, min(ordered_at) AS first FROM orders GROUP BY member_id) SELECT "
            "date_trunc('month', first), date_trunc('month', ordered_at), count(DISTINCT o.member_id) FROM orders o "
            "JOIN firsts f USING (member_id) GROUP BY 1, 2 ORDER BY 1, 2",
            "clickhouse": "SELECT cohort, month, count() FROM (SELECT arrayJoin(groupUniqArray(toStartOfMonth(ordered_at)) AS months) AS month, "
            "arrayMin(months) AS cohort FROM orders GROUP BY member_id) GROUP BY 1, 2 ORDER BY 1, 2",
        },
        15,
    ),
}
# The columns of members that these questions read, where `load` was not run.
FEW_MEMBERS = {
    "duckdb": "CREATE TABLE IF NOT EXISTS members AS SELECT id, tier, t00 FROM '{members}'",
    "clickhouse": "CREATE TABLE IF NOT EXISTS members ENGINE = MergeTree ORDER BY id AS SELECT assumeNotNull(toUInt32(id)) id, "
    "toLowCardinality(assumeNotNull(tier)) tier, assumeNotNull(t00) t00 FROM file('{members}')",
}
ORDERS = {
    "duckdb": "CREATE TABLE orders AS SELECT * FROM '{parquet}'",
    "clickhouse": "CREATE TABLE orders ENGINE = MergeTree ORDER BY (member_id, ordered_at) PARTITION BY toYYYYMM(ordered_at) AS "
    "SELECT assumeNotNull(toUInt32(member_id)) member_id, assumeNotNull(ordered_at) ordered_at, assumeNotNull(amount_cents) "
    "amount_cents, assumeNotNull(category) category, toLowCardinality(assumeNotNull(channel)) channel FROM file('{parquet}') "
    "SETTINGS max_insert_threads = {threads}, max_partitions_per_insert_block = 1000",
}


def merged(name, *tags):
    """A WITH term: the union of some rows of the bitmap table."""
    listed = ", ".join(f"'{tag}'" for tag in tags)
    return f"(SELECT groupBitmapMergeState(bm) FROM tagbm WHERE tag IN ({listed})) AS {name}"


BITMAPS = {
    "tag1": "SELECT bitmapCardinality(bm) FROM tagbm WHERE tag = 't00'",
    "tag_and3": f"WITH {merged('a', 't00')}, {merged('b', 't01')}, {merged('c', 't02')} "
    "SELECT bitmapAndnotCardinality(bitmapAnd(a, b), c)",
    "tag_or8": "SELECT groupBitmapMerge(bm) FROM tagbm WHERE tag IN "
    "('t10','t11','t12','t13','t14','t15','t16','t17')",
    "demo": f"WITH {merged('a', 'gender=f')}, {merged('b', *(f'city=city_00{k}' for k in range(5)))}, "
    f"{merged('c', 'tier=gold', 'tier=black')}, {merged('d', 't03')} "
    "SELECT bitmapAndnotCardinality(bitmapAnd(bitmapAnd(a, b), c), d)",
}

# How often a question is asked; `muster bench` does the same of itself.
RUNS_MIN = 15
RUNS_SECONDS = 1.0
# A question that takes seconds is asked no more often than this takes.
RUNS_SLOW, RUNS_SLOW_SECONDS = 3, 20.0

# At most this fraction of the fastest peer at 100 M members; the questions without one are measured only.
TARGETS = {
    "tag_and3": 80, "tag_or8": 25, "demo": 50, "range1": 300, "value_recent": 50, "mix8": 40,
    "profile_city": 25, "profile_tier_gender": 15, "top100": 250,
}
TARGET_MILLIS = {"tag1": 0.1}


class DuckDb:
    """One connection to a DuckDB file."""

    def __init__(self, path, read_only):
        import duckdb
        self.connection = duckdb.connect(str(path), read_only=read_only)

    def ask(self, sql):
        return [[str(value) for value in row] for row in self.run(sql)]

    def run(self, sql):
        """The timed call: from text to rows."""
        return self.connection.execute(sql).fetchall()

    def load(self, parquet):
        yield "members", f"CREATE TABLE members AS SELECT * FROM '{parquet}'"
        yield "members", "CHECKPOINT"


class ClickHouse:
    """One session of ClickHouse in this process."""

    def __init__(self, path, read_only):
        from chdb import session
        self.session = session.Session(str(path))
        if not read_only:
            self.session.query("CREATE DATABASE IF NOT EXISTS b")
        self.session.query("USE b")

    def ask(self, sql):
        return [line.split("\t") for line in self.run(sql).splitlines()]

    def run(self, sql):
        """The timed call: from text to rows."""
        return str(self.session.query(sql, "TSV"))

    def load(self, parquet):
        low = ", ".join(f"toLowCardinality(assumeNotNull({c})) {c}" for c in DICTIONARY_COLUMNS)
        plain = ", ".join(f"assumeNotNull({c}) {c}" for c in NUMBER_COLUMNS + TAGS)
        yield "members", (
            "CREATE TABLE members ENGINE = MergeTree ORDER BY id AS "
            f"SELECT assumeNotNull(toUInt32(id)) id, {low}, {plain} FROM file('{parquet}') "
            f"SETTINGS max_insert_threads = {os.cpu_count()}"
        )
        yield "bitmaps", (
            "CREATE TABLE tagbm (tag String, bm AggregateFunction(groupBitmap, UInt32)) "
            "ENGINE = AggregatingMergeTree ORDER BY tag"
        )
        for tag in TAGS:
            yield "bitmaps", f"INSERT INTO tagbm SELECT '{tag}', groupBitmapState(id) FROM members WHERE {tag}"
        for column in DICTIONARY_COLUMNS:
            yield "bitmaps", (
                f"INSERT INTO tagbm SELECT concat('{column}=', {column}), groupBitmapState(id) "
                f"FROM members GROUP BY {column}"
            )
        yield "bitmaps", "OPTIMIZE TABLE tagbm FINAL"

    def bytes_of(self, table):
        answer = self.ask(
            f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'b' AND table = '{table}'"
        )
        return int(answer[0][0])


def engine(kind, work, read_only):
    return DuckDb(work / "duckdb.db", read_only) if kind == "duckdb" else ClickHouse(work / "clickhouse", read_only)


# What PROFILE and OVERLAP are compared with.
OVERLAP_TAGS = TAGS[:20]
OVERLAP = f"OVERLAP {', '.join(OVERLAP_TAGS)} FROM members"
OVERLAP_BITMAPS = (
    "SELECT a.tag, b.tag, bitmapAndCardinality(a.bm, b.bm) FROM tagbm a CROSS JOIN tagbm b "
    f"WHERE a.tag < b.tag AND a.tag IN ({{tags}}) AND b.tag IN ({{tags}})"
).format(tags=", ".join(f"'{tag}'" for tag in OVERLAP_TAGS))
PROFILE_COLUMNS = ["gender", "city", "tier", "channel", "t00", "t01", "t02", "t03", "t04", "t05"]
PROFILE = f"PROFILE members WHERE t01 AND channel = 'wechat' BY {', '.join(PROFILE_COLUMNS)}"

# A text column of a million values: near-random words, so that a part of a word is in some of them.
LIKE_ROWS, LIKE_VALUES = 100_000_000, 1_000_000
LIKE_TABLE = (
    "SELECT i AS id, md5((hash(i) % {values})::VARCHAR) || '@' || ['mail','corp','post'][1 + (hash(i) % {values} % 3)::INT] || '.com' AS handle "
    "FROM range({rows}) r(i)"
)
LIKE = "SELECT count(*) FROM handles WHERE handle LIKE '%{part}%'"
LIKE_PARTS = ["beef", "7a", "@corp", "xyz"]


# ---- what the subprocesses do: one job, one JSON object on the last line of stdout

def child_load(kind, work, parquet):
    loaded = engine(kind, work, False)
    seconds = {}
    for step, sql in loaded.load(parquet):
        started = time.perf_counter()
        loaded.run(sql)
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started
    if kind == "duckdb":
        loaded.connection.close()
        size = {"members": (work / "duckdb.db").stat().st_size}
    else:
        size = {"members": loaded.bytes_of("members"), "bitmaps": loaded.bytes_of("tagbm")}
    return {"seconds": seconds, "bytes": size}


def child_ask(kind, work, sql):
    asked = engine(kind, work, True)
    started = time.perf_counter()
    rows = asked.ask(sql)
    first = time.perf_counter() - started
    if first > RUNS_SLOW_SECONDS:
        # A minute does not hang on warm pages.
        started = time.perf_counter()
        asked.run(sql)
        return {"rows": rows, "median_millis": min(first, time.perf_counter() - started) * 1e3}
    asked.run(sql)
    times = []
    while len(times) < RUNS_MIN or sum(times) < RUNS_SECONDS:
        if len(times) >= RUNS_SLOW and sum(times) > RUNS_SLOW_SECONDS:
            break
        started = time.perf_counter()
        asked.run(sql)
        times.append(time.perf_counter() - started)
    return {"rows": rows, "median_millis": statistics.median(times) * 1e3}


def child_orders(kind, work, parquet):
    work.mkdir(parents=True, exist_ok=True)
    loaded = engine(kind, work, False)
    loaded.run(FEW_MEMBERS[kind].format(members=Path(parquet).with_name("members.parquet")))
    if kind == "duckdb":
        loaded.run("CHECKPOINT")
    before = (work / "duckdb.db").stat().st_size if kind == "duckdb" else 0
    started = time.perf_counter()
    loaded.run(ORDERS[kind].format(parquet=parquet, threads=os.cpu_count()))
    if kind == "duckdb":
        loaded.run("CHECKPOINT")
        size = (work / "duckdb.db").stat().st_size - before
    else:
        size = loaded.bytes_of("orders")
    return {"seconds": time.perf_counter() - started, "bytes": size}


def child_cold(kind, work, sql):
    asked = engine(kind, work, True)
    started = time.perf_counter()
    asked.run(sql)
    return {"median_millis": (time.perf_counter() - started) * 1e3}


def child_like(kind, work, parquet):
    """Loads the table of texts and asks of it, each question as child_ask does."""
    work.mkdir(parents=True, exist_ok=True)
    asked = engine(kind, work, False)
    if kind == "duckdb":
        asked.run(f"CREATE TABLE IF NOT EXISTS handles AS SELECT * FROM '{parquet}'")
        asked.run("CHECKPOINT")
    else:
        asked.run(
            "CREATE TABLE IF NOT EXISTS handles ENGINE = MergeTree ORDER BY id AS SELECT assumeNotNull(toUInt32(id)) id, "
            f"assumeNotNull(handle) handle FROM file('{parquet}') SETTINGS max_insert_threads = {os.cpu_count()}"
        )
    answers = {}
    for part in LIKE_PARTS:
        sql = LIKE.format(part=part)
        rows = asked.ask(sql)
        asked.run(sql)
        times = []
        while len(times) < RUNS_MIN // 3 or sum(times) < RUNS_SECONDS:
            started = time.perf_counter()
            asked.run(sql)
            times.append(time.perf_counter() - started)
        answers[part] = {"rows": rows, "median_millis": statistics.median(times) * 1e3}
    return answers


def in_subprocess(*job):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "child", json.dumps(job)],
        stdout=subprocess.PIPE, text=True, check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{job[1]} failed (exit code {done.returncode}); its own words are above")
    return json.loads(done.stdout.splitlines()[-1])


# ---- MusterDB, through its binary

def muster_binary(given):
    for candidate in [given] if given else [ROOT / "target/release/muster", shutil.which("muster")]:
        if candidate and Path(candidate).is_file():
            return str(Path(candidate).resolve())
    sys.exit("no muster binary: `cargo build --release`, or name one with --muster PATH")


def output_of(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}")
    return done.stdout


def muster_ask(muster, database, name, sql):
    report = json.loads(output_of(muster, "bench", str(database), "--only", name, "--json"))
    question = report["questions"][0]
    if question["sql"] != sql:
        sys.exit(f"muster bench asks {name} as {question['sql']!r}, this script as {sql!r}: make them equal")
    listed = output_of(muster, "shell", str(database), "--format", "json", "-c", sql)
    return {
        "rows": rows_of_json(listed),
        "median_millis": question["median_micros"] / 1e3,
        "members": report["members"],
    }


def rows_of_json(text):
    """The shell's JSON: an array of objects, or one object per line."""
    text = text.strip()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [[str(v) for v in (row.values() if isinstance(row, dict) else row)] for row in rows]


def muster_times(muster, database, sql):
    """The shell's own times of a statement asked again and again in one session, and its rows."""
    text = "\\timing on\n" + f"{sql};\n" * (RUNS_MIN + 2)
    done = subprocess.run(
        [muster, "shell", str(database)], input=text, capture_output=True, text=True, check=True,
    )
    answers = done.stdout + done.stderr
    found = re.finditer(r"^\((?:[\d,]+ rows?, )?([\d.,]+) (ns|µs|ms|s)", answers, re.MULTILINE)
    times = [as_millis(*match.groups()) for match in found]
    if len(times) < RUNS_MIN:
        sys.exit(f"the shell told {len(times)} times of {RUNS_MIN + 2}:\n{answers[:2000]}")
    rows = rows_of_json(output_of(muster, "shell", str(database), "--format", "json", "-c", sql))
    return {"rows": rows, "median_millis": statistics.median(times[2:])}


def as_millis(number, unit):
    return float(number.replace(",", "")) * {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def forget(directory):
    """Tells the system to forget what it holds of some files."""
    files = [directory] if directory.is_file() else [file for file in directory.rglob("*") if file.is_file()]
    os.sync()
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def ask_cold(arguments):
    work = arguments.work.resolve()
    muster = muster_binary(arguments.muster)
    print("| question, cold | MusterDB, whole process | DuckDB | ClickHouse scan | ClickHouse bitmaps | of the fastest peer |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, sql in QUESTIONS.items():
        if arguments.only and name not in arguments.only:
            continue
        forget(work / "muster")
        started = time.perf_counter()
        output_of(muster, "shell", str(work / "muster"), "--format", "csv", "-c", sql)
        mine = (time.perf_counter() - started) * 1e3
        peers = []
        for kind, files, text in [
            ("duckdb", "duckdb.db", sql), ("clickhouse", "clickhouse", sql), ("clickhouse", "clickhouse", BITMAPS.get(name)),
        ]:
            if text is None:
                peers.append(None)
                continue
            forget(work / files)
            peers.append(in_subprocess("cold", kind, str(work), text)["median_millis"])
        fastest = min(time for time in peers if time is not None)
        cells = [name, *map(millis, [mine, *peers]), f"1/{fastest / mine:.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0


def sets(arguments):
    work = arguments.work.resolve()
    muster = muster_binary(arguments.muster)
    ours = muster_times(muster, work / "muster", OVERLAP)
    theirs = in_subprocess("ask", "clickhouse", str(work), OVERLAP_BITMAPS)
    pairs = lambda rows, both: sorted((row[0], row[1], int(row[both])) for row in rows)
    same = pairs(ours["rows"], 4) == pairs(theirs["rows"], 2)
    ratio = theirs["median_millis"] / ours["median_millis"]
    print(f"OVERLAP of {len(OVERLAP_TAGS)} tags: {millis(ours['median_millis'])}, ClickHouse bitmaps {millis(theirs['median_millis'])}: "
          f"1/{ratio:.0f} (target 1/100); {'the pairs agree' if same else 'THE PAIRS DIFFER'}")
    profile = muster_times(muster, work / "muster", PROFILE)
    one = muster_ask(muster, work / "muster", "profile_tier_gender", QUESTIONS["profile_tier_gender"])
    scans = in_subprocess("ask", "duckdb", str(work), " UNION ALL ".join(
        f"SELECT '{column}', {column}::VARCHAR, count(*) FROM members WHERE t01 AND channel = 'wechat' GROUP BY 2"
        for column in PROFILE_COLUMNS
    ))
    same_profile = sorted((r[0], r[1], int(r[2])) for r in profile["rows"]) == sorted((r[0], r[1], int(r[2])) for r in scans["rows"])
    print(f"PROFILE by {len(PROFILE_COLUMNS)} columns: {millis(profile['median_millis'])}, "
          f"{profile['median_millis'] / one['median_millis']:.1f} x profile_tier_gender's {millis(one['median_millis'])} (target 4); "
          f"DuckDB's ten GROUP BYs {millis(scans['median_millis'])}; {'the counts agree' if same_profile else 'THE COUNTS DIFFER'}")
    return 0 if same and same_profile else 1


def plan(arguments):
    """EXPLAIN plans each clause by itself and renders it: more work than planning the question."""
    muster = muster_binary(arguments.muster)
    for name, sql in QUESTIONS.items():
        print(f"{name}: {millis(muster_times(muster, arguments.work.resolve() / 'muster', 'EXPLAIN ' + sql)['median_millis'])}")


def events(arguments):
    work, muster = arguments.work.resolve(), muster_binary(arguments.muster)
    parquet = (arguments.parquet / "orders.parquet").resolve()
    if not (work / "muster").exists():
        output_of(muster, "import", str(work / "muster"), "members", str(parquet.with_name("members.parquet")), "--key", "id")
    tables = output_of(muster, "shell", str(work / "muster"), "--format", "csv", "-c", "SHOW TABLES")
    if "orders" not in tables:
        files = lambda: sum(file.stat().st_size for file in (work / "muster").iterdir())
        before, started = files(), time.perf_counter()
        output_of(muster, "import", str(work / "muster"), "orders", str(parquet),
                  "--references", "member_id=members", "--sum", "amount_cents")
        seconds = time.perf_counter() - started
        print(f"orders into MusterDB: {seconds:.1f} s, {(files() - before) / 1e6:.0f} MB", flush=True)
        for kind in ORDERS:
            loaded = in_subprocess("orders", kind, str(work), str(parquet))
            print(f"orders into {kind}: {loaded['seconds']:.1f} s, {loaded['bytes'] / 1e6:.0f} MB", flush=True)
    print("| question | MusterDB | DuckDB | ClickHouse | of the faster | target |")
    print("|---|--:|--:|--:|--:|--:|")
    wrong = 0
    for name, (sql, theirs, target) in EVENTS.items():
        if arguments.only and name not in arguments.only:
            continue
        ours = muster_ask(muster, work / "muster", name, sql)
        text = lambda kind: theirs[kind] if isinstance(theirs, dict) else theirs
        peers = [in_subprocess("ask", kind, str(work), text(kind)) for kind in ("duckdb", "clickhouse")]
        fastest = min(peer["median_millis"] for peer in peers)
        # Sums are decimals here and integers there; the beginning of a month is a time or a date.
        value_of = lambda value: int(float(value)) if re.fullmatch(r"-?[\d.]+", value) else value[:10]
        whole = lambda rows: [[value_of(value) for value in row] for row in rows]
        agree = all(whole(peer["rows"]) == whole(ours["rows"]) for peer in peers)
        wrong += not agree
        times = [ours["median_millis"], *(peer["median_millis"] for peer in peers)]
        cells = [name, *map(millis, times), f"1/{fastest / ours['median_millis']:.0f}", f"1/{target}"]
        print("| " + " | ".join(cells) + " |" + ("" if agree else " THE ANSWERS DIFFER"), flush=True)
    return 1 if wrong else 0


def like(arguments):
    import duckdb
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    muster = muster_binary(arguments.muster)
    parquet = work / "handles.parquet"
    if not parquet.is_file():
        table = LIKE_TABLE.format(values=LIKE_VALUES, rows=LIKE_ROWS)
        duckdb.connect().execute(f"COPY ({table}) TO '{parquet}' (FORMAT parquet)")
    if not (work / "handles").exists():
        output_of(muster, "import", str(work / "handles"), "handles", str(parquet), "--key", "id", "--yes")
    peers = {
        "DuckDB": in_subprocess("like", "duckdb", str(work / "handles_duckdb"), str(parquet)),
        "ClickHouse": in_subprocess("like", "clickhouse", str(work / "handles_clickhouse"), str(parquet)),
    }
    wrong = 0
    for part in LIKE_PARTS:
        ours = muster_times(muster, work / "handles", LIKE.format(part=part))
        fastest = min(answers[part]["median_millis"] for answers in peers.values())
        agree_all = all(int(answers[part]["rows"][0][0]) == int(ours["rows"][0][0]) for answers in peers.values())
        wrong += not agree_all
        listed = ", ".join(f"{label} {millis(answers[part]['median_millis'])}" for label, answers in peers.items())
        print(f"LIKE '%{part}%', {int(ours['rows'][0][0]):,} members: {millis(ours['median_millis'])}; {listed}: "
              f"1/{fastest / ours['median_millis']:.0f} (target 1/20); {'agree' if agree_all else 'THEY DIFFER'}", flush=True)
    return 1 if wrong else 0


# ---- comparing and printing

# ---- the same changes on all

# Columns that are changed, and what to: as the population has them.
CHANGED = {
    "gender": ["'f'", "'m'", "'x'"],
    "tier": [f"'{tier}'" for tier in ("gold", "silver", "black")],
    "points": [str(points) for points in range(0, 10_000, 37)],
    "orders_count": [str(orders) for orders in range(60)],
    "spend_cents": [str(cents) for cents in range(0, 1_000_000, 4_801)],
    "birth": [f"'{year}-0{month}-17'" for year in range(1950, 2008) for month in range(1, 10)],
    **{tag: ["TRUE", "FALSE"] for tag in TAGS},
}
BATCH = 1_000
AFTERWARDS = (
    "SELECT count(*), sum(points), sum(spend_cents), sum(orders_count) FROM members",
    "SELECT count(*) FROM members WHERE t00 AND NOT t07",
    "SELECT gender, tier, count(*) FROM members WHERE birth >= '1980-01-01' GROUP BY gender, tier ORDER BY gender, tier",
)


def upserts(rows, batches):
    """Batches that each give one attribute of members drawn by lot another value, as all three understand them."""
    draw = random.Random(1)
    for _ in range(batches):
        column = draw.choice(list(CHANGED))
        values = ",".join(f"({key},{draw.choice(CHANGED[column])})" for key in draw.sample(range(rows), BATCH))
        yield f"INSERT INTO members (id, {column}) VALUES {values} ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}"


def child_write(kind, work, parquet, file):
    """Loads the table, carries out the statements of a file one by one, and says how long each took."""
    work.mkdir(parents=True, exist_ok=True)
    if kind == "duckdb":
        import duckdb

        connection = duckdb.connect(str(work / "duckdb.db"))
        connection.execute(f"CREATE TABLE members AS SELECT * FROM '{parquet}'")
        connection.execute("ALTER TABLE members ADD PRIMARY KEY (id)")
        connection.execute("CHECKPOINT")
    else:
        connection = sqlite_loaded(work / "sqlite.db", parquet)
    times = []
    for statement in Path(file).read_text().split(";\n"):
        started = time.perf_counter()
        connection.execute(statement)
        times.append(time.perf_counter() - started)
    return {"times": times, "rows": [connection.execute(sql).fetchall() for sql in AFTERWARDS]}


def sqlite_loaded(file, parquet):
    import duckdb

    source = duckdb.connect()
    source.execute(f"SELECT * REPLACE (birth::TEXT AS birth, registered_at::TEXT AS registered_at, "
                   f"last_active_at::TEXT AS last_active_at) FROM '{parquet}'")
    columns = [column[0] for column in source.description]
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"CREATE TABLE members (id INTEGER PRIMARY KEY, {', '.join(columns[1:])})")
    connection.execute("BEGIN")
    while rows := source.fetchmany(100_000):
        connection.executemany(f"INSERT INTO members VALUES ({','.join('?' * len(columns))})", rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return connection


def writes(arguments):
    parquet = (arguments.parquet / "members.parquet").resolve()
    if not parquet.is_file():
        sys.exit(f"no {parquet}; `muster generate 10000000 --parquet {arguments.parquet} --no-orders` makes it")
    work = arguments.work.resolve()
    if work.exists():
        sys.exit(f"{work} is there already; name a new directory")
    work.mkdir(parents=True)
    muster = muster_binary(arguments.muster)
    database = work / "muster"
    warm(parquet)
    output_of(muster, "import", str(database), "members", str(parquet), "--key", "id", "--yes")
    listed = lambda sql: rows_of_json(output_of(muster, "shell", str(database), "--format", "json", "-c", sql))
    rows = int(listed("SELECT count(*) FROM members")[0][0])
    statements = work / "upserts.sql"
    statements.write_text(";\n".join(upserts(rows, arguments.batches)))
    started = time.perf_counter()
    output_of(muster, "shell", str(database), "-f", str(statements))
    elapsed = time.perf_counter() - started
    mine = [listed(sql) for sql in AFTERWARDS]
    print(f"{rows:,} members, {arguments.batches} upserts of {BATCH:,} members, one attribute each, one after the other, each synced\n")
    print("| engine | members a second | median of a batch | of MusterDB's rate |\n|---|--:|--:|--:|")
    rate = arguments.batches * BATCH / elapsed
    print(f"| MusterDB (`muster shell -f`, opening included) | {rate:,.0f} | | 1 |")
    wrong = []
    for kind, label in [("duckdb", "DuckDB"), ("sqlite", "SQLite (WAL, synchronous = FULL)")]:
        report = in_subprocess("write", kind, str(work), str(parquet), str(statements))
        theirs = len(report["times"]) * BATCH / sum(report["times"])
        median = statistics.median(report["times"]) * 1e3
        print(f"| {label} | {theirs:,.0f} | {median:.1f} ms | 1/{rate / theirs:.1f} |", flush=True)
        found = [[[str(value) for value in row] for row in answer] for answer in report["rows"]]
        if found != mine:
            wrong.append(f"{label}: {found} instead of {mine}")
    print("\nAfterwards " + ("all have the same." if not wrong else "THEY DIFFER."))
    for line in wrong:
        print(f"- {line}")
    return 1 if wrong else 0


def agree(left, right):
    """Same rows in any order (ties are free to differ); fractions to nine digits."""
    return sorted(map(normal, left)) == sorted(map(normal, right))


def normal(row):
    return [cell if not cell[:1].isdigit() or "." not in cell else f"{float(cell):.9g}" for cell in row]


def bytes_under(directory):
    return sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())


def millis(value):
    if value is None:
        return ""
    return f"{value:.4f} ms" if value < 0.1 else f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"


def load(arguments):
    parquet = (arguments.parquet / "members.parquet").resolve()
    if not parquet.is_file():
        sys.exit(f"no {parquet}; `muster generate 100000000 --parquet {arguments.parquet}` makes it")
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    taken = [name for name in ("duckdb.db", "clickhouse", "muster") if (work / name).exists()]
    if taken:
        sys.exit(f"{work} already holds {', '.join(taken)}; name a new directory")
    muster = muster_binary(arguments.muster)
    warm(parquet)
    rows = []
    started = time.perf_counter()
    output_of(muster, "import", str(work / "muster"), "members", str(parquet), "--key", "id", "--yes")
    rows.append(("MusterDB", "members", time.perf_counter() - started, bytes_under(work / "muster")))
    for kind, label in [("duckdb", "DuckDB"), ("clickhouse", "ClickHouse")]:
        report = in_subprocess("load", kind, str(work), str(parquet))
        for step, seconds in report["seconds"].items():
            rows.append((label, step, seconds, report["bytes"][step]))
    duckdb = next(row for row in rows if row[0] == "DuckDB")
    print("| engine | what | load | bytes on disk | load / DuckDB | bytes / DuckDB |\n|---|---|--:|--:|--:|--:|")
    for label, step, seconds, size in rows:
        print(
            f"| {label} | {step} | {seconds:.1f} s | {size:,} | {seconds / duckdb[2]:.2f} | {size / duckdb[3]:.2f} |"
        )


def warm(file):
    """Reads a file once, so that whoever loads it first does not pay for the disk."""
    with open(file, "rb") as source:
        while source.read(1 << 24):
            pass


def ask(arguments):
    work = arguments.work.resolve()
    muster = muster_binary(arguments.muster)
    wrong, missed, lines, members = [], [], [], 0
    for name, sql in QUESTIONS.items():
        if arguments.only and name not in arguments.only:
            continue
        ours = muster_ask(muster, work / "muster", name, sql)
        peers = {
            "DuckDB": in_subprocess("ask", "duckdb", str(work), sql),
            "ClickHouse scan": in_subprocess("ask", "clickhouse", str(work), sql),
        }
        if name in BITMAPS:
            peers["ClickHouse bitmaps"] = in_subprocess("ask", "clickhouse", str(work), BITMAPS[name])
        members = ours["members"]
        for label, answer in peers.items():
            if not agree(ours["rows"], answer["rows"]):
                wrong.append(f"{name}: MusterDB {ours['rows'][:2]}, {label} {answer['rows'][:2]}")
        fastest = min(answer["median_millis"] for answer in peers.values())
        mine = ours["median_millis"]
        target, met = verdict(name, mine, fastest)
        if met is False:
            missed.append(name)
        figures = [mine] + [
            peers.get(label, {}).get("median_millis") for label in ("DuckDB", "ClickHouse scan", "ClickHouse bitmaps")
        ]
        cells = [name, *map(millis, figures), f"1/{fastest / mine:.1f}", target, {True: "met", False: "missed"}.get(met, "")]
        lines.append("| " + " | ".join(cells) + " |")
        print(f"{name}: {millis(mine)}, fastest peer {millis(fastest)}", file=sys.stderr, flush=True)
    print(f"{members:,} members, {os.cpu_count()} processors, medians of at least {RUNS_MIN} runs and {RUNS_SECONDS:g} s\n")
    print("| question | MusterDB | DuckDB | ClickHouse scan | ClickHouse bitmaps | of the fastest peer | target | |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    print("\n".join(lines))
    print(f"\nTargets missed: {', '.join(missed) or 'none'} (they are meant for 100,000,000 members).")
    print("Answers: " + ("all engines agree." if not wrong else "THEY DIFFER."))
    for line in wrong:
        print(f"- {line}")
    return 1 if wrong else 0


def verdict(name, mine, fastest):
    """The target in words, and whether it is met (None where there is none)."""
    if name in TARGET_MILLIS:
        return f"< {TARGET_MILLIS[name]} ms", mine < TARGET_MILLIS[name]
    if name in TARGETS:
        return f"1/{TARGETS[name]}", mine * TARGETS[name] <= fastest
    return "", None


def main():
    if sys.argv[1:2] == ["child"]:
        verb, kind, work, *rest = json.loads(sys.argv[2])
        job = {"load": child_load, "ask": child_ask, "cold": child_cold, "like": child_like, "orders": child_orders, "write": child_write}[verb]
        print("\n" + json.dumps(job(kind, Path(work), *rest)))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser("load", help="load members.parquet into the three")
    loading.add_argument("--parquet", type=Path, required=True, help="the directory with members.parquet")
    asking = commands.add_parser("ask", help="ask and compare")
    asking.add_argument("--only", action="append", choices=QUESTIONS, help="only this question; repeatable")
    asking.add_argument("--cold", action="store_true", help="once each, from files that the system was told to forget")
    setting = commands.add_parser("sets", help="OVERLAP and PROFILE")
    planning = commands.add_parser("plan", help="parsing, binding and planning")
    liking = commands.add_parser("like", help="LIKE on a text column of a million values")
    writing = commands.add_parser("writes", help="the same upserts on MusterDB, DuckDB and SQLite")
    writing.add_argument("--parquet", type=Path, required=True, help="the directory with members.parquet")
    writing.add_argument("--batches", type=int, default=300, help="upserts (default 300)")
    asking_events = commands.add_parser("events", help="questions about orders")
    asking_events.add_argument("--parquet", type=Path, required=True, help="the directory with orders.parquet")
    asking_events.add_argument("--only", action="append", choices=EVENTS, help="only this question; repeatable")
    for command in (loading, asking, setting, planning, liking, writing, asking_events):
        command.add_argument("--work", type=Path, required=True, help="where the databases are")
        command.add_argument("--muster", help="the binary (default: target/release/muster, then PATH)")
    arguments = parser.parse_args()
    if arguments.command == "ask" and arguments.cold:
        return ask_cold(arguments)
    verbs = {"load": load, "ask": ask, "sets": sets, "plan": plan, "like": like, "writes": writes, "events": events}
    return verbs[arguments.command](arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
