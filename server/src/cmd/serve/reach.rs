//! Who may reach the server: other machines only where users and TLS stand before the data, or somebody has said otherwise.

use crate::failure::{Failure, Result};
use std::net::SocketAddr;

/// What protects a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protection {
    /// True where the database has a user, so that clients have to say who they are.
    pub(super) users: bool,
    /// True where connections are encrypted.
    pub(super) tls: bool,
    /// True where neither is wanted.
    pub(super) waived: bool,
}

/// Refuses an address that other machines reach while something is missing.
pub(super) fn check(listen: SocketAddr, protection: Protection) -> Result<()> {
    if protection.waived || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let users = "users (CREATE USER name PASSWORD '…' ROLE admin, in `muster shell DIR`)";
    let missing = match (protection.users, protection.tls) {
        (true, true) => return Ok(()),
        (true, false) => "TLS (--tls-cert and --tls-key)".to_owned(),
        (false, true) => users.to_owned(),
        (false, false) => format!("{users} and TLS (--tls-cert and --tls-key)"),
    };
    Err(Failure::new(format!(
        "{listen} is reached from other machines, and for that there have to be {missing}; \
         listen on 127.0.0.1, or say --insecure, and who reaches the address sees and changes what it should not"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(listen: &str, users: bool, tls: bool, waived: bool) -> Option<String> {
        match check(listen.parse().unwrap(), Protection { users, tls, waived }) {
            Ok(()) => None,
            Err(Failure::Message(message)) => Some(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn other_machines_need_users_and_tls() {
        for here in ["127.0.0.1:7878", "127.8.0.1:1", "[::1]:7878", "[::ffff:127.0.0.1]:7878"] {
            assert_eq!(refusal(here, false, false, false), None, "{here}");
        }
        for there in ["0.0.0.0:7878", "[::]:7878", "192.168.0.7:7878", "[fe80::1]:7878"] {
            assert_eq!(refusal(there, true, true, false), None, "{there}");
            assert_eq!(refusal(there, false, false, true), None, "{there}");
            for (users, tls) in [(false, false), (true, false), (false, true)] {
                let said = refusal(there, users, tls, false).unwrap();
                assert!(said.starts_with(there) && said.contains("--insecure"), "{said}");
                assert_eq!(said.contains("CREATE USER"), !users, "{said}");
                assert_eq!(said.contains("--tls-cert"), !tls, "{said}");
            }
        }
    }
}
