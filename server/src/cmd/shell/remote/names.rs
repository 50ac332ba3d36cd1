//! Names for completion, asked on a connection of their own: they are there in a transaction that failed as well. They are kept for a
//! moment, as completion asks with every key. Values of columns are not offered: a server would have to look through its rows.

use super::answer;
use super::connection::{Connection, Login};
use crate::cmd::shell::complete::{Column, Names, Relation};
use musterdb::{Cancel, DataType, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was heard is taken as true.
const KEPT: Duration = Duration::from_secs(10);
/// How long somebody at the keyboard waits for names.
const PATIENCE: Duration = Duration::from_secs(2);

/// The names that a server has.
pub(super) struct OfServer {
    login: Login,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    connection: Option<Connection>,
    kept: HashMap<String, (Instant, Vec<Vec<Value>>)>,
}

impl OfServer {
    pub(super) fn new(login: Login) -> OfServer {
        OfServer { login, asked: Mutex::default() }
    }

    fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = asked.kept.get(sql).filter(|(heard, _)| heard.elapsed() < KEPT) {
            return rows.clone();
        }
        let rows = self.heard(&mut asked, sql);
        if rows.is_none() {
            asked.connection = None;
        }
        // Without an answer there are no names, and none are asked for with the next key.
        let rows = rows.unwrap_or_default();
        asked.kept.insert(sql.to_owned(), (Instant::now(), rows.clone()));
        rows
    }

    fn heard(&self, asked: &mut Asked, sql: &str) -> Option<Vec<Vec<Value>>> {
        if asked.connection.is_none() {
            asked.connection = Connection::open(&self.login, Cancel::default()).ok();
        }
        let connection = asked.connection.as_mut()?;
        connection.until(Instant::now() + PATIENCE);
        connection.say(&super::words(sql, &[]).ok()?).ok()?;
        let mut all = Vec::new();
        answer::read(connection.replies(), &mut |_, rows| {
            all.append(rows);
            Ok(())
        })
        .ok()?;
        Some(all)
    }
}

fn text(row: &[Value], at: usize) -> String {
    match row.get(at) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

impl Names for OfServer {
    fn relations(&self) -> Vec<(String, Relation)> {
        let all = [
            ("SHOW TABLES", Relation::Table),
            ("SHOW VIEWS", Relation::View),
            ("SHOW AUDIENCES", Relation::Audience),
        ];
        let named = |(sql, kind)| self.rows(sql).into_iter().map(move |row| (text(&row, 0), kind));
        all.into_iter().flat_map(named).collect()
    }

    fn columns(&self, relation: &str) -> Vec<Column> {
        let rows = self.rows(&format!("DESCRIBE \"{}\"", relation.replace('"', "\"\"")));
        let column = |row: Vec<Value>| {
            let data_type = text(&row, 1);
            let is_tags = data_type == DataType::TextArray.to_string();
            Column { name: text(&row, 0), data_type, is_tags }
        };
        rows.into_iter().map(column).collect()
    }

    fn values(&self, _: &str, _: &str, _: &str, _: usize) -> Vec<String> {
        Vec::new()
    }
}
