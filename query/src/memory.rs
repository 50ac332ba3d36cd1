//! The memory that a statement may take: what the program around sets, and what `SET memory_limit` makes less.

use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::session::Session;

impl Session {
    /// The most bytes that one statement may hold for its rows, groups and lists from now on; `None`, as at first, is any number.
    /// What needs more ends with [`muster_engine::Error::OutOfMemory`], changes nothing, and the next statement runs as ever.
    /// `SET memory_limit` asks for less, and cannot ask for more.
    ///
    /// Counted is what grows with the data or the answer, as it is allocated, to within some megabytes a thread; mapped files
    /// are not, nor is an answer once it was handed over.
    pub fn set_memory_limit(&mut self, bytes: impl Into<Option<u64>>) {
        self.memory_ceiling = bytes.into();
        self.cancel.limit_memory(self.memory_ceiling);
    }

    /// `SET memory_limit`; `None` is as much as the program around allows.
    pub(crate) fn limit_memory(&self, text: Option<&str>, span: Span) -> Result<()> {
        let Some(text) = text else {
            self.cancel.limit_memory(self.memory_ceiling);
            return Ok(());
        };
        let refuse = |kind: QueryErrorKind, message: String, advice: &str| {
            Err(Error::query(kind, span, message).advise(advice))
        };
        let Some(bytes) = bytes_of(text) else {
            let advice = "SET memory_limit = '512MB'; DEFAULT is as much as there may be";
            return refuse(QueryErrorKind::Value, format!("{text:?} is no amount of memory"), advice);
        };
        if let Some(ceiling) = self.memory_ceiling.filter(|ceiling| bytes > *ceiling) {
            let message = format!("{text} is more than a statement may take here");
            return refuse(QueryErrorKind::Limit, message, &format!("at most {}kB", ceiling >> 10));
        }
        self.cancel.limit_memory(Some(bytes));
        Ok(())
    }
}

/// An amount of memory as PostgreSQL's settings have it, in powers of 1024: `'512MB'`, `'64kB'`, `'2 GB'`. The unit is not left
/// out, because there it would be kilobytes and elsewhere bytes.
fn bytes_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok().filter(|number| *number > 0)?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "b" => 0,
        "kb" | "kib" => 10,
        "mb" | "mib" => 20,
        "gb" | "gib" => 30,
        "tb" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_settings_have_them() {
        assert_eq!(
            ["512MB", " 64 kB ", "1gib", "3B", "2TB"].map(bytes_of),
            [512 << 20, 64 << 10, 1 << 30, 3, 2 << 40].map(Some)
        );
        assert_eq!(
            ["", "MB", "0MB", "-1MB", "1.5GB", "512", "1 week", "17179869184TB"].map(bytes_of),
            [None; 8]
        );
    }
}
