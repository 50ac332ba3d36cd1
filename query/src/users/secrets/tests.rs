//! What is masked, in statements of every form.

use super::*;
use crate::Database;

/// Where a password stands; `…` is the mask.
fn check(sql: &str, masked: &str) {
    assert_eq!(secrets_masked(sql), masked.replace('…', MASK), "{sql}");
}

#[test]
fn what_follows_password_is_masked() {
    check("CREATE USER ada PASSWORD 'secret12' ROLE admin", "CREATE USER ada PASSWORD … ROLE admin");
    check("create user ada with password 'secret12';", "create user ada with password …;");
    check("Alter User \"Ada\" PassWord\n\t'secret12'\n", "Alter User \"Ada\" PassWord\n\t…\n");
    check("ALTER USER ada PASSWORD -- it's new\n 'secret12'", "ALTER USER ada PASSWORD -- it's new\n …");
    check(
        "ALTER USER ada PASSWORD /* 'a' /* b */ */'secret12'",
        "ALTER USER ada PASSWORD /* 'a' /* b */ */…",
    );
    check("ALTER USER ada PASSWORD 'it''s mine' ROLE read", "ALTER USER ada PASSWORD … ROLE read");
    check("ALTER USER ada PASSWORD E'it\\'s mine' ROLE read", "ALTER USER ada PASSWORD … ROLE read");
    check("ALTER USER ada PASSWORD e'a\\\\' ROLE read", "ALTER USER ada PASSWORD … ROLE read");
    check("ALTER USER ada PASSWORD U&'\\0061bcdefgh'", "ALTER USER ada PASSWORD …");
    check("ALTER USER ada PASSWORD $$it's$$ ROLE read", "ALTER USER ada PASSWORD … ROLE read");
    check("ALTER USER ada PASSWORD $t$a $$ b$t$ ROLE read", "ALTER USER ada PASSWORD … ROLE read");
    check("CREATE USER 李雷 PASSWORD '秘密秘密'", "CREATE USER 李雷 PASSWORD …");
    check(
        "SELECT 'a'; CREATE USER b PASSWORD 'secret12'; SELECT 'c'",
        "SELECT 'a'; CREATE USER b PASSWORD …; SELECT 'c'",
    );
    check(
        "CREATE USER a PASSWORD 'secret12'; ALTER USER b PASSWORD 'secret34'",
        "CREATE USER a PASSWORD …; ALTER USER b PASSWORD …",
    );
    check("EXPLAIN CREATE USER ada PASSWORD 'secret12'", "EXPLAIN CREATE USER ada PASSWORD …");
}

#[test]
fn statements_that_do_not_parse_are_masked_too() {
    check("CREATE USER ada PASSWORD 'secret12", "CREATE USER ada PASSWORD …");
    check("CREATE USER ada PASSWORD E'secret\\", "CREATE USER ada PASSWORD …");
    check("CREATE USER ada PASSWORD $$secret", "CREATE USER ada PASSWORD …");
    check("CREATE USER ada PASSWORD \"secret12\"", "CREATE USER ada PASSWORD …");
    check("CREATE USER ada PASSWORD = 'secret12'", "CREATE USER ada PASSWORD = …");
    check("CREATE USER ada PASSWORD secret-12! ROLE read", "CREATE USER ada PASSWORD … ROLE read");
    check("CREATE USER ada PASSWORD 12345678", "CREATE USER ada PASSWORD …");
    check("CREATE USER ada PASWORD 'secret12'", "CREATE USER ada PASWORD …");
    check("CREATE USER ada 'secret12' ROLE read", "CREATE USER ada … ROLE read");
    check("CREATE ROLE ada LOGIN PASSWORD 'secret12'", "CREATE ROLE ada LOGIN PASSWORD …");
    check("CREATE USR ada PASSWORD 'secret12'", "CREATE USR ada PASSWORD …");
    // Quoted wrongly: no part of it is left.
    check("ALTER USER ada PASSWORD 'it's mine' ROLE read", "ALTER USER ada PASSWORD …");
    check("ALTER USER ada PASSWORD 'it's; mine' ROLE read", "ALTER USER ada PASSWORD …");
    check("ALTER USER ada PASSWORD 'a'bc d'e' ROLE read", "ALTER USER ada PASSWORD … ROLE read");
}

#[test]
fn nothing_else_is_masked() {
    for sql in [
        "",
        "SELECT 'a', password FROM t WHERE b = 'c'",
        "SELECT \"password\" 'x'",
        "SELECT 'PASSWORD' 'x'",
        "-- password 'x'\nSELECT 'y'",
        "CREATE USER ada PASSWORD $1 ROLE write",
        "ALTER USER ada ROLE write; SELECT 'x'",
        "CREATE AUDIENCE user AS SELECT id FROM t WHERE c = 'x'",
        "SELECT password, 'x' FROM t",
    ] {
        assert!(matches!(secrets_masked(sql), Cow::Borrowed(same) if same == sql), "{sql}");
    }
    check(
        "SELECT 1 FROM t WHERE password = 'x' AND b = 'y'",
        "SELECT 1 FROM t WHERE password = … AND b = 'y'",
    );
}

#[test]
fn any_text_is_masked_without_a_panic_and_only_once() {
    let letters = [
        "'",
        "\"",
        "$",
        "$a$",
        "--",
        "/*",
        "*/",
        ";",
        "\\",
        "e",
        "城",
        "\n",
        " ",
        "CREATE ",
        "USER ",
        "password ",
        "x",
        "=",
        "U&",
    ];
    let mut state = 7_u64;
    for _ in 0..4000 {
        let mut text = String::new();
        for _ in 0..14 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text += letters[(state >> 33) as usize % letters.len()];
        }
        let masked = secrets_masked(&text);
        let bytes = text.len() + 2;
        for (start, end) in (0..bytes).flat_map(|start| [(start, start), (start, bytes)]) {
            let moved = masked_around(&text, Span { start, end }).1;
            assert!(moved.start <= moved.end, "{text:?}");
            Error::syntax(Span { start, end }, "wrong").render(&text);
        }
        let again = secrets_masked(&masked);
        assert_eq!(again.matches(MASK).count(), masked.matches(MASK).count(), "{text:?}");
    }
}

/// The caret stands where it stood, under the mask where the password is to blame.
#[test]
fn errors_show_their_place_and_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let rendered = |sql: &str| db.execute(sql).unwrap_err().render(sql);
    let shown = rendered("CREATE USER ada PASSWORD 'hush' ROLE write");
    assert_eq!(
        shown,
        "error: a password has 8 to 1024 bytes\n  line 1, column 26\n    CREATE USER ada PASSWORD '***' ROLE write\n    \
         \u{20}                        ^^^^^"
    );
    let shown = rendered("CREATE USER ada PASSWORD 'hushhush'\n  ROLE chief");
    assert!(shown.contains("line 2, column 8\n      ROLE chief\n           ^^^^^"), "{shown}");
    let shown = rendered("ALTER USER ada PASSWORD 'hush\nhush' ROLL read");
    assert!(shown.contains("found ROLL") && shown.contains("'***' ROLL read\n"), "{shown}");
    for sql in [
        "CREATE USER ada PASSWORD 'hushhush' 'hushhush'",
        "CREATE USER ada PASSWORD hushhush",
        "CREATE USER ada PASSWORD \"hushhush\"",
        "CREATE USER ada PASSWORD 'hushhush",
        "CREATE USER ada PASSWORD $$hushhush",
        "CREATE USER ada 'hushhush'",
        "CREATE USER ada WITH E'hush\\'hush'",
        "CREATE USER ada PASSWORD 'it's hushhush' ROLE read",
        "CREATE USER ada PASSWORD 'hushhush' PASSWORD 'hushhush'",
        "CREATE USER ada PASSWORD 'hushhush' ROLE 'hushhush'",
        "CREATE USER 'hushhush' PASSWORD 'hushhush'",
        "CREATE USER ada PASSWORD = 'hushhush'",
        "CREATE ROLE ada PASSWORD 'hushhush'",
        "CREATE USR ada PASSWORD 'hushhush'",
        "EXPLAIN CREATE USER ada PASSWORD 'hushhush'",
        "SET PASSWORD 'hushhush'",
        "SELECT password 'hushhush'",
        "ALTER USER ada PASSWORD 'hushhush'",
    ] {
        let error = db.execute(sql).unwrap_err();
        for text in [error.to_string(), format!("{error:?}"), error.render(sql)] {
            assert!(!text.contains("hush"), "{sql}: {text}");
        }
    }
    let parsed = crate::parse::parse("CREATE USER ada PASSWORD 'hushhush'", &[]).unwrap();
    assert!(!format!("{parsed:?}").contains("hush"), "{parsed:?}");
}
