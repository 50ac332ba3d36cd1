//! Passwords to hashes, and whether one fits the other: argon2id (RFC 9106) in PHC strings.
//!
//! The costs are of OWASP's list of equal strengths, the one that takes the least memory: whoever lets many people in at once
//! pays it for each. They stand in each hash, so that later versions can ask for more; what comes from a database is not
//! trusted to stay within reason.

use crate::error::{Error, QueryErrorKind, Result, Span};
use argon2::password_hash::phc::{PasswordHash, PasswordHash as Phc};
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::fmt;

/// The shortest and the longest password, in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 8..=1024;

/// Memory in KiB, passes and lanes of a new hash.
const COSTS: (u32, u32, u32) = (7_168, 5, 1);

/// The most of each that a stored hash may ask for.
const COSTS_MAX: (u32, u32, u32) = (64 << 10, 10, 4);

/// A hash of a password that was thrown away, at [`COSTS`]: who does not exist is looked at as long as who does.
pub(super) const NOBODYS: &str =
    "$argon2id$v=19$m=7168,t=5,p=1$VGhpcyBpcyBub2JvZHlzIQ$QWxsIG9mIHRoaXMgaXMgbm8gaGFzaCBvZiBhbnl0aGk";

/// A password, which shows itself to nobody.
pub(crate) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'***'")
    }
}

impl Password {
    /// A password of a length that is taken; `span` is where it stands.
    pub(super) fn new(text: String, span: Span) -> Result<Password> {
        if !BYTES.contains(&text.len()) {
            let message = format!("a password has {} to {} bytes", BYTES.start(), BYTES.end());
            return Err(Error::query(QueryErrorKind::Value, span, message));
        }
        Ok(Password(text))
    }

    /// Its hash under a new salt, as a PHC string.
    pub(super) fn hash(&self) -> Result<String> {
        let (memory, passes, lanes) = COSTS;
        let params = Params::new(memory, passes, lanes, None).map_err(|error| error.to_string());
        let hash = params.and_then(|params| {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            argon2.hash_password(self.0.as_bytes()).map_err(|error| error.to_string())
        });
        let refuse = |error| muster_engine::Error::Invalid(format!("a password cannot be hashed: {error}"));
        Ok(hash.map_err(refuse)?.to_string())
    }
}

/// Whether a password was hashed to this; the error says what is wrong with the hash, and nothing of the password.
pub(super) fn verify(password: &[u8], hash: &str) -> std::result::Result<bool, String> {
    let hash = PasswordHash::new(hash).map_err(|_| "which is no PHC string".to_owned())?;
    check_costs(&hash)?;
    // Nobody has one that is longer.
    Ok(password.len() <= *BYTES.end() && Argon2::default().verify_password(password, &hash).is_ok())
}

fn check_costs(hash: &Phc) -> std::result::Result<(), String> {
    if hash.algorithm.as_str() != "argon2id" || hash.hash.is_none() || hash.salt.is_none() {
        return Err("which is no argon2id".to_owned());
    }
    let params = Params::try_from(hash).map_err(|_| "with costs that argon2 does not have".to_owned())?;
    let costs = (params.m_cost(), params.t_cost(), params.p_cost());
    if costs.0 > COSTS_MAX.0 || costs.1 > COSTS_MAX.1 || costs.2 > COSTS_MAX.2 {
        return Err(format!("which costs more than the {COSTS_MAX:?} (KiB, passes, lanes) that are spent"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { start: 0, end: 0 };

    #[test]
    fn a_password_fits_its_hash_alone() {
        let password = Password::new("correct horse".into(), SPAN).unwrap();
        let (hash, again) = (password.hash().unwrap(), password.hash().unwrap());
        assert_ne!(hash, again, "a new salt each time");
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash}");
        for hash in [&hash, &again] {
            assert_eq!(verify(b"correct horse", hash), Ok(true));
            assert_eq!(verify(b"Correct horse", hash), Ok(false));
            assert_eq!(verify(b"", hash), Ok(false));
            assert_eq!(verify(&[b'x'; 5000], hash), Ok(false));
        }
        assert_eq!(format!("{password:?}"), "'***'");
    }

    /// Argon2's reference implementation made this one: what is stored today is read by others, and tomorrow.
    #[test]
    fn hashes_of_others_are_verified() {
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(verify(b"password", hash), Ok(true));
        assert_eq!(verify(b"passwords", hash), Ok(false));
    }

    #[test]
    fn who_does_not_exist_costs_what_a_new_hash_costs() {
        let hash = Phc::new(NOBODYS).unwrap();
        let params = Params::try_from(&hash).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), COSTS);
        assert_eq!(params.output_len(), Some(32));
        assert_eq!(verify(b"anything", NOBODYS), Ok(false));
    }

    #[test]
    fn lengths_are_bounded() {
        for (bytes, taken) in [(0, false), (7, false), (8, true), (1024, true), (1025, false)] {
            let made = Password::new("x".repeat(bytes), SPAN);
            assert_eq!(made.is_ok(), taken, "{bytes}");
        }
    }

    /// A database from anywhere may ask for hours and gigabytes; it gets an error.
    #[test]
    fn hostile_costs_are_refused_before_they_are_paid() {
        let salted = "$VGhpcyBpcyBub2JvZHlzIQ$QWxsIG9mIHRoaXMgaXMgbm8gaGFzaCBvZiBhbnl0aGk";
        let of = |costs: &str| verify(b"anything", &format!("$argon2id$v=19${costs}{salted}"));
        assert_eq!(of("m=256,t=1,p=4"), Ok(false));
        for costs in ["m=65537,t=1,p=1", "m=4294967295,t=1,p=1", "m=256,t=11,p=1", "m=256,t=1,p=5"] {
            assert!(of(costs).unwrap_err().contains("costs more than"), "{costs}");
        }
        for costs in ["m=1,t=1,p=1", "m=256,t=0,p=1", "m=256,t=1,p=0", "m=99999999999,t=1,p=1", "x=1"] {
            assert!(of(costs).is_err(), "{costs}");
        }
        for hash in
            ["", "$", "plain", "$argon2id$v=19$m=256,t=1,p=1", "$argon2i$v=19$m=256,t=1,p=1$c29tZXNhbHQ"]
        {
            assert!(verify(b"anything", hash).is_err(), "{hash}");
        }
        let other = NOBODYS.replacen("argon2id", "argon2i", 1);
        assert!(verify(b"anything", &other).unwrap_err().contains("no argon2id"));
    }
}
