#!/usr/bin/env python3
"""Random statements put to MusterDB and to DuckDB, which is a second opinion on SQL that shares no code with ours.

    pip install duckdb==2.0.1
    cargo build -p musterdb --example answers
    python3 query/tests/duckdb/compare.py [--seconds 60] [--seed N] [--answers target/debug/examples/answers]

A table of random values is written as CSV and read by both. A statement on which they differ is printed with both
answers, and the exit status is 1. The seed that is printed replays a run.

Left out, because the two mean different things by it and ours is PostgreSQL's (docs/QUERY.md, "Differences to PostgreSQL"):

* integer `/` (DuckDB divides into a double, `//` is ours), so it is written `//` for DuckDB;
* decimals multiplied and divided: their types have other scales and limits. They are added, subtracted and compared;
* beyond the range of a type: DuckDB computes INTEGER in 32 bits, so columns are cast to BIGINT where they are computed,
  and numbers stay small;
* NaN and infinity, which CSV readers spell differently, and `-0`;
* text order: both go by bytes; upper and lower of letters whose mapping has several letters;
* `'vip' <> ALL(tags)` and everything else about TEXT[]: another type in DuckDB;
* round(double): DuckDB rounds ties away from zero as we do, PostgreSQL to even; it stays in;
* casts of texts to numbers: what is a number differs; TIMESTAMPTZ and zones: DuckDB needs an extension for them;
* regular expressions: `~` is a match of the whole text in DuckDB, so it is asked through regexp_matches;
* count(DISTINCT) and sums of doubles: sums are compared with a tolerance;
* errors: a statement that one of the two refuses is counted, not compared, but ours must not refuse more than a tenth.
"""

import argparse
import csv
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import duckdb

COLUMNS = [
    ("id", "BIGINT", "integer"),
    ("small", "SMALLINT", "integer"),
    ("age", "INTEGER", "integer"),
    ("fans", "BIGINT", "integer"),
    ("spend", "DECIMAL(12,2)", "decimal"),
    ("rate", "DECIMAL(9,4)", "decimal"),
    ("score", "DOUBLE PRECISION", "double"),
    ("ratio", "DOUBLE PRECISION", "double"),
    ("city", "TEXT", "text"),
    ("name", "TEXT", "text"),
    ("email", "TEXT", "text"),
    ("active", "BOOLEAN", "boolean"),
    ("vip", "BOOLEAN", "boolean"),
    ("birth", "DATE", "date"),
    ("joined", "DATE", "date"),
    ("seen", "TIMESTAMP", "timestamp"),
]
OPS = ["=", "<>", "<", "<=", ">", ">="]
CITIES = ["Lima", "lima", "Kyoto", "北京", "", "São Paulo", "a_b", "100%"]


def table(rng, rows):
    day = datetime.date(2000, 2, 29)
    for i in range(rows):
        row = [
            i,
            rng.randint(-3, 3),
            rng.randint(-2, 90),
            int(rng.random() ** 4 * 1000000),
            f"{rng.randint(-500, 5000) / 100:.2f}",
            f"{rng.randint(-20000, 20000) / 10000:.4f}",
            rng.choice([0.0, 0.5, -1.25, 2.5, rng.randint(-100, 100) / 8]),
            repr(rng.random() * 100),
            rng.choice(CITIES),
            f"n{rng.randint(0, 40)}",
            f"{rng.choice('abcXYZ')}{i % 50}@{rng.choice(['corp.com', 'Mail.org', 'x.io'])}",
            rng.choice(["true", "false"]),
            rng.choice(["true", "false"]),
            day + datetime.timedelta(days=rng.randint(-15000, 9000)),
            day + datetime.timedelta(days=rng.randint(8000, 9600)),
            datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=rng.randint(0, 70000000)),
        ]
        yield [value if at == 0 or rng.random() > 0.12 else None for at, value in enumerate(row)]


class Generator:
    """Statements as pairs: for us, and for DuckDB."""

    def __init__(self, rng):
        self.rng = rng

    def both(self, pattern, *parts):
        return tuple(pattern.format(*(part[side] for part in parts)) for side in (0, 1))

    def same(self, text):
        return (text, text)

    def column(self, kind):
        return self.rng.choice([name for name, _, of in COLUMNS if of == kind])

    def constant(self, kind):
        rng = self.rng
        return {
            "integer": lambda: str(rng.choice([0, 1, 2, 18, 30, 65, -1, 100, 1000])),
            "decimal": lambda: f"{rng.randint(-300, 4000) / 100:.2f}",
            "double": lambda: rng.choice(["0.5", "-1.25", "2.5", "0.0", "12.375", "50.0"]),
            "text": lambda: rng.choice(["'Lima'", "'n7'", "''", "'a'", "'北京'", "'b12@x.io'"]),
            "boolean": lambda: rng.choice(["true", "false"]),
            "date": lambda: f"DATE '{rng.randint(1975, 2026)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}'",
            "timestamp": lambda: f"TIMESTAMP '{rng.randint(2024, 2026)}-0{rng.randint(1, 9)}-11 {rng.randint(10, 23)}:30:00'",
        }[kind]()

    def value(self, kind, depth):
        rng = self.rng
        if depth == 0 or rng.random() < 0.3:
            if rng.random() < 0.75:
                name = self.column(kind)
                return (name, f"CAST({name} AS BIGINT)") if kind == "integer" else self.same(name)
            return self.same(self.constant(kind))
        of = lambda kind: self.value(kind, depth - 1)
        generic = [
            lambda: self.both("coalesce({}, {})", of(kind), of(kind)),
            lambda: self.both("CASE WHEN {} THEN {} ELSE {} END", self.condition(depth - 1), of(kind), of(kind)),
            lambda: self.both("nullif({}, {})", of(kind), of(kind)),
        ]
        if kind != "boolean":
            generic.append(lambda: self.both("greatest({}, {})", of(kind), of(kind)))
            generic.append(lambda: self.both("least({}, {})", of(kind), of(kind)))
        small = lambda: self.same(str(rng.randint(1, 9)))
        special = {
            "integer": [
                lambda: self.both("({} + {})", of("integer"), of("integer")),
                lambda: self.both("({} - {})", of("integer"), of("integer")),
                lambda: self.both("({} * {})", of("integer"), small()),
                lambda: self.quotient(of("integer"), rng.randint(1, 9)),
                lambda: self.both("({} % {})", of("integer"), small()),
                lambda: self.both("abs({})", of("integer")),
                lambda: self.both("(-({}))", of("integer")),
                lambda: self.both("length({})", of("text")),
                lambda: self.both(f"extract({rng.choice(['year', 'month', 'day', 'quarter', 'week', 'isodow', 'dow', 'doy'])} FROM {{}})", of("date")),
                lambda: self.both("extract(hour FROM {})", of("timestamp")),
                lambda: self.both("({} - {})", of("date"), of("date")),
            ],
            "decimal": [
                lambda: self.both("({} + {})", of("decimal"), of("decimal")),
                lambda: self.both("({} - {})", of("decimal"), of("decimal")),
                lambda: self.both("abs({})", of("decimal")),
                lambda: self.both("(-({}))", of("decimal")),
            ],
            "double": [
                lambda: self.both("({} + {})", of("double"), of("double")),
                lambda: self.both("({} - {})", of("double"), of("double")),
                lambda: self.both("({} * {})", of("double"), self.same("0.5")),
                lambda: self.both("({} / {})", of("double"), self.same("4")),
                lambda: self.both("abs({})", of("double")),
                lambda: self.both("floor({})", of("double")),
                lambda: self.both("ceil({})", of("double")),
                lambda: self.both("round({})", of("double")),
                lambda: self.both("CAST({} AS DOUBLE PRECISION)", of("decimal")),
                lambda: self.both("sqrt(abs({}))", of("double")),
            ],
            "text": [
                lambda: self.both("lower({})", of("text")),
                lambda: self.both("upper({})", of("text")),
                lambda: self.both("trim({})", of("text")),
                lambda: self.both("({} || {})", of("text"), of("text")),
                lambda: self.both("concat({}, {})", of("text"), of("text")),
                lambda: self.both(f"substr({{}}, {rng.randint(1, 5)}, {rng.randint(0, 4)})", of("text")),
                lambda: self.both(f"left({{}}, {rng.randint(-3, 4)})", of("text")),
                lambda: self.both("replace({}, 'a', '-')", of("text")),
                lambda: self.both(f"split_part({{}}, '@', {rng.choice([1, 2, 3, -1])})", of("text")),
                lambda: self.both("CAST({} AS TEXT)", of("integer")),
            ],
            "date": [
                lambda: self.both("({} + {})", of("date"), small()),
                lambda: self.both("({} - {})", of("date"), small()),
                lambda: self.both("CAST({} AS DATE)", of("timestamp")),
            ],
            "timestamp": [
                lambda: self.both(f"date_trunc('{rng.choice(['year', 'quarter', 'month', 'week', 'day', 'hour', 'minute'])}', {{}})", of("timestamp")),
                lambda: self.both(f"({{}} + INTERVAL '{rng.randint(-30, 30)} {rng.choice(['days', 'months', 'hours'])}')", of("timestamp")),
                lambda: self.both(f"({{}} - INTERVAL '{rng.randint(1, 9)} {rng.choice(['days', 'months', 'hours'])}')", of("timestamp")),
            ],
            "boolean": [lambda: self.both("({})", self.condition(depth - 1))],
        }[kind]
        return rng.choice(generic + special * 2)()

    def quotient(self, value, by):
        return (f"({value[0]} / {by})", f"({value[1]} // {by})")

    def kind(self):
        return self.rng.choice(["integer", "integer", "decimal", "double", "text", "text", "date", "timestamp"])

    def condition(self, depth):
        rng = self.rng
        kind = self.kind()
        of = lambda depth=depth: self.value(kind, max(depth - 1, 0))
        if depth > 0 and rng.random() < 0.45:
            inner = lambda: self.condition(depth - 1)
            return rng.choice([
                lambda: self.both("({} AND {})", inner(), inner()),
                lambda: self.both("({} OR {})", inner(), inner()),
                lambda: self.both("(NOT {})", inner()),
                lambda: self.both(f"(({{}}) IS {rng.choice(['', 'NOT '])}{rng.choice(['TRUE', 'FALSE'])})", inner()),
            ])()
        constant = lambda: self.same(self.constant(kind))
        return rng.choice([
            lambda: self.both(f"{{}} {rng.choice(OPS)} {{}}", of(), constant()),
            lambda: self.both(f"{{}} {rng.choice(OPS)} {{}}", of(), of()),
            lambda: self.both(f"{self.column(kind)} {rng.choice(OPS)} {{}}", constant()),
            lambda: self.both("{} BETWEEN {} AND {}", of(), constant(), constant()),
            lambda: self.both("{} NOT BETWEEN {} AND {}", of(), constant(), constant()),
            lambda: self.both("{} IN ({}, {})", of(), constant(), constant()),
            lambda: self.both("{} NOT IN ({}, {})", of(), constant(), self.same(rng.choice(["NULL", self.constant(kind)]))),
            lambda: self.both("{} IS NULL", of()),
            lambda: self.both("{} IS NOT NULL", of()),
            lambda: self.both("{} IS DISTINCT FROM {}", of(), of()),
            lambda: self.both("{} IS NOT DISTINCT FROM {}", of(), constant()),
            lambda: self.same(self.column("boolean")),
            lambda: self.both(f"{{}} {rng.choice(['LIKE', 'NOT LIKE', 'ILIKE', 'NOT ILIKE'])} {rng.choice(PATTERNS)}", self.value("text", max(depth - 1, 0))),
            lambda: self.matches(self.value("text", max(depth - 1, 0))),
            lambda: self.both(f"id {rng.choice(['IN', 'NOT IN'])} (SELECT id FROM t WHERE {{}})", self.plain(depth)),
        ])()

    def plain(self, depth):
        """A condition that can stand in a subquery of WHERE; inside values subqueries are refused."""
        kind = self.kind()
        return self.both(f"{{}} {self.rng.choice(OPS)} {{}}", self.value(kind, max(depth - 1, 0)), self.same(self.constant(kind)))

    def matches(self, text):
        operator, pattern = self.rng.choice(["~", "~*", "!~"]), self.rng.choice(REGEXES)
        flags = ", 'i'" if "*" in operator else ""
        negated = "NOT " if "!" in operator else ""
        return (f"({text[0]} {operator} {pattern})", f"({negated}regexp_matches({text[1]}, {pattern}{flags}))")

    def aggregate(self):
        rng = self.rng
        kind = self.kind()
        of = self.value(kind, rng.randint(0, 1))
        made = rng.choice([
            lambda: self.same("count(*)"),
            lambda: self.both("count({})", of),
            lambda: self.both("count(DISTINCT {})", of),
            lambda: self.both("min({})", of),
            lambda: self.both("max({})", of),
            lambda: self.both(f"{rng.choice(['sum', 'avg'])}({{}})", self.value(rng.choice(["integer", "decimal", "double"]), 1)),
            lambda: self.both("sum(DISTINCT {})", self.value("integer", 0)),
        ])()
        return self.both("{} FILTER (WHERE {})", made, self.plain(1)) if rng.random() < 0.25 else made

    def statement(self):
        """Two texts, and whether the order of rows is decided."""
        rng = self.rng
        where = self.both(" WHERE {}", self.condition(rng.randint(0, 3))) if rng.random() < 0.85 else self.same("")
        shape = rng.random()
        if shape < 0.3:
            return self.both("SELECT count(*) FROM t{}", where), True
        if shape < 0.55:
            items = [self.value(self.kind(), rng.randint(0, 3)) for _ in range(rng.randint(1, 3))]
            select = tuple(", ".join(item[side] for item in items) for side in (0, 1))
            if rng.random() < 0.3:
                return self.both("SELECT DISTINCT {} FROM t{}", select, where), False
            key = self.value(self.kind(), 1)
            order = f"{rng.choice(['', ' DESC'])} NULLS {rng.choice(['FIRST', 'LAST'])}"
            limit = rng.choice(["", f" LIMIT {rng.randint(0, 20)}", f" LIMIT {rng.randint(0, 20)} OFFSET {rng.randint(0, 20)}"])
            # A constant after ORDER BY would be a position.
            return self.both("SELECT id, {} FROM t{} ORDER BY coalesce({}, NULL)" + order + ", id" + limit, select, where, key), True
        keys = [self.value(self.kind(), rng.randint(0, 2)) for _ in range(rng.randint(0, 2))]
        aggregates = [self.aggregate() for _ in range(rng.randint(1, 3))]
        names = [f"k{i}" for i in range(len(keys))]
        texts = []
        for side in (0, 1):
            shown = [f"{key[side]} AS {name}" for key, name in zip(keys, names)] + [a[side] for a in aggregates]
            text = f"SELECT {', '.join(shown)} FROM t{where[side]}"
            if names:
                text += f" GROUP BY {', '.join(str(i + 1) for i in range(len(names)))}"
            texts.append(text)
        if rng.random() < 0.3:
            having = f" HAVING count(*) {rng.choice(OPS)} {rng.randint(0, 60)}"
            texts = [text + having for text in texts]
        if names and rng.random() < 0.5:
            order = ", ".join(f"{i + 1}{rng.choice([' DESC', ''])} NULLS {rng.choice(['FIRST', 'LAST'])}" for i in range(len(names)))
            limit = rng.choice(["", f" LIMIT {rng.randint(0, 9)}"])
            return tuple(f"{text} ORDER BY {order}{limit}" for text in texts), True
        return tuple(texts), False


PATTERNS = ["'%a%'", "'L%'", "'%.com'", "'n_'", "'%'", "''", "'_i%a'", "'%北%'", "'n1%'", "'%O%'"]
REGEXES = ["'^[A-M]'", "'[0-9]{2}'", "'a$'", "'o.*o'", "'^$'", "'(com|io)$'", "'京'"]


def canonical(value):
    """A value of either as what is compared: numbers as numbers, times as their text."""
    if value is None:
        return (2, "")
    if isinstance(value, bool):
        return (1, "true" if value else "false")
    if isinstance(value, str):
        try:
            return (0, float(value) + 0.0) if value not in ("", "Infinity", "NaN") else (1, value)
        except ValueError:
            return (1, value)
    if isinstance(value, datetime.datetime):
        return (1, value.isoformat(sep=" "))
    if isinstance(value, datetime.date):
        return (1, value.isoformat())
    # Where 0 and -0 are of one group, either may stand for it: -0 becomes 0.
    return (0, float(value) + 0.0)


def equal(a, b):
    if a[0] != b[0]:
        return False
    return abs(a[1] - b[1]) <= 1e-9 * max(1.0, abs(a[1]), abs(b[1])) if a[0] == 0 else a[1] == b[1]


def rough(row):
    """The order in which rows without one are compared: digits that a sum may differ in count last."""
    return [(kind, f"{value:.6g}" if kind == 0 else value) for kind, value in row], row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--answers", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "debug/examples/answers"))
    options = parser.parse_args()
    print(f"seed {options.seed}, DuckDB {duckdb.__version__}", flush=True)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "t.csv")
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NOTNULL if hasattr(csv, "QUOTE_NOTNULL") else csv.QUOTE_MINIMAL)
            writer.writerow(name for name, _, _ in COLUMNS)
            writer.writerows(table(rng, options.rows))
        ours = subprocess.Popen(
            [options.answers, os.path.join(directory, "db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

        def ask(sql):
            ours.stdin.write(sql + "\n")
            ours.stdin.flush()
            return json.loads(ours.stdout.readline())

        columns = ", ".join(f"{name} {sql_type}" for name, sql_type, _ in COLUMNS)
        for sql in [f"CREATE TABLE t ({columns})", f"COPY t FROM '{path}' (FORMAT csv, HEADER)"]:
            answer = ask(sql)
            if "error" in answer:
                sys.exit(answer["error"])
        theirs = duckdb.connect()
        theirs.execute(f"CREATE TABLE t ({columns})")
        theirs.execute(f"INSERT INTO t SELECT * FROM read_csv('{path}', header=true, all_varchar=true, nullstr=[''], allow_quoted_nulls=false)")
        generator = Generator(rng)
        compared, refused_here, refused_there, messages = 0, 0, 0, {}
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            (sql, for_duckdb), ordered = generator.statement()
            answer = ask(sql)
            try:
                expected = theirs.execute(for_duckdb).fetchall()
            except duckdb.Error:
                refused_there += 1
                continue
            if "error" in answer:
                refused_here += 1
                messages[answer["error"][:60]] = messages.get(answer["error"][:60], 0) + 1
                continue
            mine = [[canonical(value) for value in row] for row in answer["rows"]]
            other = [[canonical(value) for value in row] for row in expected]
            if not ordered:
                mine.sort(key=rough)
                other.sort(key=rough)
            compared += 1
            same = len(mine) == len(other) and all(
                len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b)) for a, b in zip(mine, other)
            )
            if not same:
                at = next((i for i, (a, b) in enumerate(zip(mine, other)) if not all(map(equal, a, b))), min(len(mine), len(other)))
                print(f"they differ (statement {compared}):\n  {sql}\n  {for_duckdb}")
                print(f"  ours   {len(mine)} rows, from row {at}: {answer['rows'][at:at + 3] if ordered else mine[at:at + 3]}")
                print(f"  DuckDB {len(other)} rows, from row {at}: {other[at:at + 3]}")
                sys.exit(1)
        ours.stdin.close()
        print(f"{compared} statements agree; refused by us alone {refused_here}, by DuckDB {refused_there}")
        for message, times in sorted(messages.items(), key=lambda item: -item[1])[:5]:
            print(f"  {times} × {message}")
        if compared == 0 or refused_here * 10 > compared:
            sys.exit("too many are refused for the rest to mean much")


main()
