//! What each format writes, letter for letter.

use super::*;
use musterdb::{DataType, OutcomeColumn};

fn column(name: &str, data_type: DataType) -> OutcomeColumn {
    OutcomeColumn { name: name.into(), data_type }
}

fn rows(columns: Vec<OutcomeColumn>, rows: Vec<Vec<Value>>) -> Outcome {
    Outcome::Rows { columns, rows, stats: Default::default() }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Values that are easily written wrong.
fn answer() -> Outcome {
    let columns = vec![
        column("count", DataType::BigInt),
        column("spend", DataType::Decimal { precision: 12, scale: 2 }),
        column("city", DataType::Text),
        column("born", DataType::Date),
        column("tags", DataType::TextArray),
        column("count", DataType::BigInt),
    ];
    let whole = vec![
        Value::Integer(i64::MAX),
        Value::Decimal { unscaled: 123_456_789_012_345_678_901_230, scale: 2 },
        text("a \"b\", c\u{1b}[2J"),
        Value::Date(0),
        Value::tags(["vip".to_owned(), "new".to_owned()]),
        Value::Null,
    ];
    let empty = vec![Value::Null, Value::Null, text(""), Value::Null, Value::Null, Value::Null];
    rows(columns, vec![whole, empty])
}

/// People of several scripts.
fn people() -> Outcome {
    let columns = vec![column("name", DataType::Text), column("spend", DataType::BigInt)];
    let row = |name: &str, spend: Option<i64>| vec![text(name), spend.map_or(Value::Null, Value::Integer)];
    rows(
        columns,
        vec![
            row("李 伟", Some(2310)),
            row("Jose\u{301}", Some(7)),
            row("👍 fan", None),
            row("👨‍👩‍👧", Some(-12)),
        ],
    )
}

fn style(format: Format) -> Style {
    Style::plain(format)
}

fn written(outcome: &Outcome, style: &Style) -> String {
    let mut out = Vec::new();
    write(&mut out, outcome, style).unwrap();
    String::from_utf8(out).unwrap()
}

fn lines(expected: &[&str]) -> String {
    expected.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_table_is_aligned_in_every_script() {
    let expected = lines(&[
        "┌────────┬───────┐",
        "│ name   ┆ spend │",
        "╞════════╪═══════╡",
        "│ 李 伟  ┆  2310 │",
        "│ Jose\u{301}   ┆     7 │",
        "│ 👍 fan ┆  NULL │",
        "│ 👨‍👩‍👧     ┆   -12 │",
        "└────────┴───────┘",
    ]);
    assert_eq!(written(&people(), &style(Format::Table)), expected);
}

#[test]
fn null_is_dim_on_a_terminal_and_what_the_user_wants() {
    let one = rows(vec![column("a", DataType::BigInt)], vec![vec![Value::Null]]);
    let coloured = Style { colour: true, ..style(Format::Table) };
    assert!(written(&one, &coloured).contains("│ \u{1b}[2mNULL\u{1b}[0m │"));
    let named = Style { null: Some("∅".into()), ..style(Format::Table) };
    assert_eq!(written(&one, &named), lines(&["┌───┐", "│ a │", "╞═══╡", "│ ∅ │", "└───┘"]));
    let csv = Style { null: Some("\\N".into()), ..style(Format::Csv) };
    let two = rows(vec![column("a", DataType::Text)], vec![vec![Value::Null], vec![text("\\N")]]);
    assert_eq!(written(&two, &csv), "a\n\\N\n\"\\N\"\n");
}

#[test]
fn a_table_gives_way_where_its_texts_are_long_and_nowhere_else() {
    let columns =
        vec![column("key", DataType::BigInt), column("name", DataType::Text), column("note", DataType::Text)];
    let row = vec![
        Value::Integer(1_234_567_890),
        text("Aiko Tanaka"),
        text("上海 and a long way to go from there"),
    ];
    let wide = rows(columns, vec![row]);
    let narrow = Style { width: Some(48), ..style(Format::Table) };
    let expected = lines(&[
        "┌────────────┬─────────────┬───────────────────┐",
        "│ key        ┆ name        ┆ note              │",
        "╞════════════╪═════════════╪═══════════════════╡",
        "│ 1234567890 ┆ Aiko Tanaka ┆ 上海 and a long … │",
        "└────────────┴─────────────┴───────────────────┘",
    ]);
    assert_eq!(written(&wide, &narrow), expected);
    let mut out = Vec::new();
    assert_eq!(write(&mut out, &wide, &narrow).unwrap(), Shape::Cut);
    // Away from a terminal the table is whole.
    assert!(written(&wide, &style(Format::Table)).contains("from there │"));
    // Where no cutting helps, records; or the whole table where the user forbade them.
    let tiny = Style { width: Some(20), expanded: Expanded::Auto, ..style(Format::Table) };
    let expected = lines(&[
        "─[ 1 ]──────────────",
        "key  │ 1234567890",
        "name │ Aiko Tanaka",
        "note │ 上海 and a long way to go from there",
    ]);
    assert_eq!(written(&wide, &tiny), expected);
    let off = Style { expanded: Expanded::Off, ..tiny };
    assert_eq!(written(&wide, &off), written(&wide, &style(Format::Table)));
}

#[test]
fn records_show_a_column_a_line() {
    let expanded = Style { expanded: Expanded::On, ..style(Format::Table) };
    let expected = lines(&[
        "─[ 1 ]────────",
        "name  │ 李 伟",
        "spend │ 2310",
        "─[ 2 ]────────",
        "name  │ Jose\u{301}",
        "spend │ 7",
        "─[ 3 ]────────",
        "name  │ 👍 fan",
        "spend │ NULL",
        "─[ 4 ]────────",
        "name  │ 👨‍👩‍👧",
        "spend │ -12",
    ]);
    assert_eq!(written(&people(), &expanded), expected);
}

#[test]
fn no_rows_and_no_columns_have_their_forms() {
    let no_rows = rows(vec![column("id", DataType::BigInt)], Vec::new());
    assert_eq!(written(&no_rows, &style(Format::Table)), lines(&["┌────┐", "│ id │", "╞════╡", "└────┘"]));
    assert_eq!(written(&no_rows, &style(Format::Json)), "[]\n");
    assert_eq!(written(&no_rows, &style(Format::Jsonl)), "");
    assert_eq!(written(&no_rows, &style(Format::Csv)), "id\n");
    assert_eq!(written(&no_rows, &style(Format::Markdown)), "| id |\n|---:|\n");
    let no_columns = rows(Vec::new(), vec![Vec::new()]);
    assert_eq!(written(&no_columns, &style(Format::Table)), "(no columns)\n");
    assert_eq!(written(&no_columns, &style(Format::Json)), "[{}]\n");
}

#[test]
fn a_table_shows_escapes_instead_of_obeying_them() {
    let text = written(&answer(), &style(Format::Table));
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[2J"), "{text}");
}

#[test]
fn csv_reads_back_and_tells_null_from_empty() {
    let text = written(&answer(), &style(Format::Csv));
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let row = reader.records().next().unwrap().unwrap();
    assert_eq!(&row[0], "9223372036854775807");
    assert_eq!(&row[1], "1234567890123456789012.30");
    assert_eq!(&row[2], "a \"b\", c\u{1b}[2J");
    assert_eq!([&row[3], &row[4], &row[5]], ["1970-01-01", "{new,vip}", ""]);
    assert_eq!(text.lines().last().unwrap(), ",,\"\",,,");
}

#[test]
fn json_is_exact_and_keeps_every_column() {
    let text = written(&answer(), &style(Format::Json));
    assert!(text.contains("\"spend\":1234567890123456789012.30,"), "{text}");
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["tags"], serde_json::json!(["new", "vip"]));
    assert_eq!(rows[0]["count"], serde_json::json!(i64::MAX));
    assert_eq!(rows[0]["count_2"], serde_json::Value::Null);
    assert_eq!(rows[1]["city"], serde_json::json!(""));
    let lines = written(&answer(), &style(Format::Jsonl));
    let read: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(serde_json::Value::Array(read), rows);
}

#[test]
fn markdown_cells_stay_cells() {
    let odd = rows(
        vec![column("a|b", DataType::Text), column("n", DataType::BigInt)],
        vec![vec![text("1\n2 <b> *x*"), Value::Integer(5)], vec![Value::Null, Value::Null]],
    );
    let expected = "| a\\|b | n |\n|---|---:|\n| 1<br>2 \\<b> \\*x\\* | 5 |\n| NULL | NULL |\n";
    assert_eq!(written(&odd, &style(Format::Markdown)), expected);
}

#[test]
fn a_statement_without_rows_says_that_it_is_done() {
    let done = Outcome::Done { message: "COPY 5".into() };
    assert_eq!(written(&done, &style(Format::Table)), "COPY 5\n");
    assert_eq!(written(&done, &style(Format::Json)), "[{\"done\":\"COPY 5\"}]\n");
    assert_eq!(written(&done, &style(Format::Jsonl)), "{\"done\":\"COPY 5\"}\n");
}

/// The chart of an answer in `width` cells, or why there is none.
fn chart(outcome: &Outcome, value: Option<&str>, width: usize) -> std::result::Result<String, String> {
    let Outcome::Rows { columns, rows, .. } = outcome else { panic!("charts are of rows") };
    let choice = chart::choose(columns, value)?;
    let mut out = Vec::new();
    let style = Style { width: Some(width), ..style(Format::Table) };
    chart::write(&mut out, columns, rows, &choice, &style).unwrap();
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn bars_are_as_long_as_their_values() {
    let columns = vec![column("city", DataType::Text), column("count", DataType::BigInt)];
    let row = |city: &str, count: i64| vec![text(city), Value::Integer(count)];
    let mut groups = vec![row("Kyoto", 80), row("上海", 45), row("Lima", 1), row("Oslo", 0)];
    groups.push(vec![Value::Null, Value::Null]);
    let expected = lines(&[
        "count",
        "Kyoto ██████████   80",
        "上海  █████▋       45",
        "Lima  ▏             1",
        "Oslo                0",
        "NULL             NULL",
    ]);
    assert_eq!(chart(&rows(columns, groups), None, 21).unwrap(), expected);
}

#[test]
fn negative_bars_grow_to_the_left() {
    let columns = vec![column("month", DataType::Text), column("change", DataType::Double)];
    let row = |month: &str, change: f64| vec![text(month), Value::Double(change)];
    let months =
        rows(columns, vec![row("jan", 5.0), row("feb", -5.0), row("mar", -1.0), row("apr", f64::NAN)]);
    let expected = lines(&[
        "change",
        "jan      █████   5",
        "feb █████       -5",
        "mar     █       -1",
        "apr            NaN",
    ]);
    assert_eq!(chart(&months, None, 18).unwrap(), expected);
}

#[test]
fn a_chart_finds_its_value_and_its_labels() {
    let profile = vec![
        column("attribute", DataType::Text),
        column("value", DataType::Text),
        column("share", DataType::Double),
        column("count", DataType::BigInt),
    ];
    let row = |a: &str, v: &str, share: f64, count: i64| {
        vec![text(a), text(v), Value::Double(share), Value::Integer(count)]
    };
    let profile = rows(
        profile,
        vec![row("gender", "f", 0.5, 4), row("gender", "m", 0.25, 2), row("tier", "gold", 0.75, 6)],
    );
    let expected =
        lines(&["count", "gender f    ██████▋    4", "       m    ███▍       2", "tier   gold ██████████ 6"]);
    assert_eq!(chart(&profile, None, 24).unwrap(), expected);
    assert!(chart(&profile, Some("share"), 40).unwrap().starts_with("share\n"));
    assert!(chart(&profile, Some("value"), 40).unwrap_err().contains("holds no numbers"));
    assert!(chart(&profile, Some("lift"), 40).unwrap_err().contains("no column lift"));
    // Of numbers alone the first one is the label.
    let ages = vec![column("age", DataType::BigInt), column("sum", DataType::BigInt)];
    let ages = rows(ages, vec![vec![Value::Integer(30), Value::Integer(7)]]);
    assert_eq!(chart(&ages, None, 16).unwrap(), lines(&["sum", "30 ███████████ 7"]));
    let lone = rows(vec![column("n", DataType::BigInt)], vec![vec![Value::Integer(7)]]);
    assert_eq!(chart(&lone, None, 14).unwrap(), lines(&["n", "████████████ 7"]));
    let texts = rows(vec![column("n", DataType::Text)], vec![]);
    assert!(chart(&texts, None, 14).unwrap_err().contains("needs a column of numbers"));
}
