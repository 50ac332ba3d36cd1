//! How statements are written, in short: the one table behind `\h`. `docs/QUERY.md` says what they mean.

/// A statement.
pub(super) struct Statement {
    /// Its first words; of several that belong together, those of each after a comma.
    pub(super) name: &'static str,
    /// What it does, without a full stop.
    pub(super) what: &'static str,
    /// Its form, in lines of at most 80 cells.
    pub(super) syntax: &'static str,
}

impl Statement {
    /// The first words of each.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.name.split(", ")
    }
}

/// All statements.
pub(super) const STATEMENTS: [Statement; 21] = [
    Statement {
        name: "SELECT",
        what: "counts, groups and members",
        syntax: "\
SELECT [DISTINCT] * | expression [[AS] alias], …
  FROM table | view | audience | (SELECT …) [[AS] alias]
       [TABLESAMPLE BERNOULLI (percent) [REPEATABLE (seed)]]
  [WHERE condition]
  [GROUP BY expression | alias | position, …] [HAVING condition]
  [ORDER BY expression | alias | position [ASC | DESC]
            [NULLS FIRST | NULLS LAST], …]
  [LIMIT n] [OFFSET n]

aggregate:
  count(*)  count | sum | avg | min | max ([DISTINCT] expression)
  [FILTER (WHERE condition)]
condition:
  a = <> < <= > >= b                a [NOT] BETWEEN b AND c
  a [NOT] IN (b, …)                 a IS [NOT] NULL
  a IS [NOT] DISTINCT FROM b        a [NOT] LIKE | ILIKE '%x%'    a ~ 'regex'
  'tag' = ANY(tags)                 tags @> ARRAY['a', 'b']    tags && ARRAY[…]
  id IN (SELECT id FROM …)          in_audience('name')
  boolean_column                    NOT a    a AND b    a OR b",
    },
    Statement {
        name: "INSERT",
        what: "new members, or new values of those that are there",
        syntax: "\
INSERT INTO table [[AS] alias] [(column, …)]
  VALUES (value | DEFAULT, …), …  |  SELECT …
  [ON CONFLICT [(key)] DO NOTHING
   | ON CONFLICT (key) DO UPDATE SET column = value | DEFAULT, …]

In SET a column is the member's, EXCLUDED.column that of the row that comes.",
    },
    Statement {
        name: "UPDATE",
        what: "new values of the members of a condition",
        syntax: "\
UPDATE table [[AS] alias] SET column = value | DEFAULT, … [WHERE condition]

  tags || 'vip'    tags || ARRAY['a', 'b']    array_remove(tags, 'vip')",
    },
    Statement {
        name: "DELETE",
        what: "members that go",
        syntax: "DELETE FROM table [[AS] alias] [WHERE condition]",
    },
    Statement {
        name: "BEGIN, COMMIT, ROLLBACK",
        what: "statements that are done together, or not at all",
        syntax: "\
BEGIN | START TRANSACTION
COMMIT | END
ROLLBACK | ABORT",
    },
    Statement {
        name: "CHECKPOINT, BACKUP",
        what: "changes become parts now; a copy in an empty directory",
        syntax: "\
CHECKPOINT
BACKUP TO 'directory'",
    },
    Statement { name: "REFRESH", what: "a reader sees what was written since", syntax: "REFRESH" },
    Statement {
        name: "EXPLAIN",
        what: "how a SELECT is answered; ANALYZE: and what it cost",
        syntax: "EXPLAIN [ANALYZE] SELECT …",
    },
    Statement {
        name: "PROFILE",
        what: "who they are: each value with its share and its lift",
        syntax: "PROFILE table | view | audience [WHERE condition] BY column, …",
    },
    Statement {
        name: "OVERLAP",
        what: "what audiences have in common, pair by pair",
        syntax: "\
OVERLAP audience, …
OVERLAP condition [AS name], … FROM table | view | audience",
    },
    Statement {
        name: "CREATE TABLE",
        what: "an empty table",
        syntax: "\
CREATE TABLE [IF NOT EXISTS] table
  (column type [NOT NULL] [PRIMARY KEY], … [, PRIMARY KEY (column)])

type:
  BOOLEAN  SMALLINT  INTEGER  BIGINT  DECIMAL(p,s)  DOUBLE PRECISION
  TEXT  TEXT[]  DATE  TIMESTAMP  TIMESTAMPTZ",
    },
    Statement {
        name: "CREATE VIEW",
        what: "a SELECT under a name",
        syntax: "\
CREATE [OR REPLACE] VIEW view [(column, …)]
  AS SELECT * | column, … FROM table [WHERE condition]",
    },
    Statement {
        name: "CREATE AUDIENCE",
        what: "members under a name",
        syntax: "\
CREATE [OR REPLACE] [STATIC] AUDIENCE [IF NOT EXISTS] audience
  AS SELECT key FROM table [WHERE condition]
CREATE [OR REPLACE] STATIC AUDIENCE [IF NOT EXISTS] audience
  ON table FROM 'file' [(FORMAT csv, HEADER)]

STATIC keeps the members of today; without it the condition is asked each time.",
    },
    Statement {
        name: "COPY",
        what: "files into a table, answers into a file",
        syntax: "\
COPY table [(column, …)] FROM 'file' [, 'file' …] [[WITH] (option, …)]
COPY table [(column, …)] | (SELECT …) TO 'file' [[WITH] (option, …)]

option:
  FORMAT csv | parquet | jsonl | roaring    HEADER [true | false]
  DELIMITER ','    QUOTE '\"'    ESCAPE '\"'    NULL 'text'
  only FROM: ENCODING 'name'    ON_ERROR skip    REJECTS 'file'
             ON_CONFLICT update | nothing",
    },
    Statement {
        name: "ALTER TABLE",
        what: "columns added, dropped, renamed",
        syntax: "\
ALTER TABLE table
    ADD [COLUMN] [IF NOT EXISTS] column type
  | DROP [COLUMN] [IF EXISTS] column [CASCADE]
  | RENAME [COLUMN] column TO name
  | RENAME TO name",
    },
    Statement {
        name: "ALTER AUDIENCE",
        what: "an audience renamed",
        syntax: "ALTER AUDIENCE audience RENAME TO name",
    },
    Statement {
        name: "DROP",
        what: "tables, views, audiences, users; CASCADE: all on them",
        syntax: "\
DROP TABLE | VIEW | AUDIENCE [IF EXISTS] name, … [CASCADE]
DROP USER [IF EXISTS] name, …",
    },
    Statement {
        name: "CREATE USER, ALTER USER",
        what: "who may log in to a server, and do what",
        syntax: "\
CREATE USER [IF NOT EXISTS] name [WITH] PASSWORD 'text'
  [ROLE read | write | admin]
ALTER USER name [WITH] [PASSWORD 'text'] [ROLE read | write | admin]

A new user may read unless a role is given.",
    },
    Statement {
        name: "SET",
        what: "the session's clock, zone, patience, durability",
        syntax: "\
SET now | timezone | idle_in_transaction_timeout = 'value' | DEFAULT
SET synchronous_commit = on | off
SET memory_limit = '512MB' | DEFAULT",
    },
    Statement {
        name: "SHOW",
        what: "tables, views, audiences and their sizes; users",
        syntax: "SHOW TABLES | VIEWS | AUDIENCES | USERS",
    },
    Statement {
        name: "DESCRIBE",
        what: "the columns of a table or view; an audience",
        syntax: "DESCRIBE table | view | audience",
    },
];
