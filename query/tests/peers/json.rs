//! As much JSON as the cases need.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    pub fn parse(text: &str) -> Json {
        value(&mut text.chars().peekable())
    }

    /// A member of a map; null where there is none.
    pub fn at(&self, name: &str) -> &Json {
        let Json::Map(members) = self else { return &Json::Null };
        members.iter().find(|(known, _)| known == name).map_or(&Json::Null, |(_, value)| value)
    }

    pub fn list(&self) -> &[Json] {
        if let Json::List(list) = self { list } else { &[] }
    }

    pub fn members(&self) -> &[(String, Json)] {
        if let Json::Map(members) = self { members } else { &[] }
    }

    /// A text, a number as it is written, or the name of a truth.
    pub fn text(&self) -> String {
        match self {
            Json::Text(text) | Json::Number(text) => text.clone(),
            Json::Bool(truth) => truth.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// A constant of SQL.
    pub fn sql(&self) -> String {
        match self {
            Json::Null => "NULL".into(),
            Json::Text(text) => format!("'{}'", text.replace('\'', "''")),
            other => other.text(),
        }
    }
}

fn value(chars: &mut Peekable<Chars<'_>>) -> Json {
    skip(chars);
    match chars.peek().copied().unwrap() {
        '{' => {
            let mut members = Vec::new();
            each(chars, '}', |chars| {
                let Json::Text(name) = value(chars) else { panic!("a name is a text") };
                skip(chars);
                assert_eq!(chars.next(), Some(':'));
                members.push((name, value(chars)));
            });
            Json::Map(members)
        }
        '[' => {
            let mut list = Vec::new();
            each(chars, ']', |chars| list.push(value(chars)));
            Json::List(list)
        }
        '"' => Json::Text(string(chars)),
        _ => {
            let mut word = String::new();
            while let Some(next) = chars.next_if(|next| next.is_ascii_alphanumeric() || "+-.".contains(*next))
            {
                word.push(next);
            }
            match word.as_str() {
                "null" => Json::Null,
                "true" | "false" => Json::Bool(word == "true"),
                _ => Json::Number(word),
            }
        }
    }
}

fn each(chars: &mut Peekable<Chars<'_>>, close: char, mut one: impl FnMut(&mut Peekable<Chars<'_>>)) {
    chars.next();
    loop {
        skip(chars);
        if chars.next_if_eq(&close).is_some() {
            return;
        }
        one(chars);
        skip(chars);
        chars.next_if_eq(&',');
    }
}

fn string(chars: &mut Peekable<Chars<'_>>) -> String {
    chars.next();
    let mut text = String::new();
    loop {
        match chars.next().unwrap() {
            '"' => return text,
            '\\' => match chars.next().unwrap() {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    text.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

fn skip(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|next| next.is_whitespace()).is_some() {}
}
