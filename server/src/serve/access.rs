//! Who clients are, and what they may do.
//!
//! ```text
//! AUTH, HELLO ─ known? ── yes ─────────────────────────────────────────── let in
//!                  └ no ─ the address' turn ─ one hash at a time ─ right ─ let in, known from now on
//!                                                      └ wrong ─ a pause ─ -WRONGPASS
//! ```
//!
//! A database without users asks nobody: whoever reaches the server is its admin. With users nothing is answered to a stranger, until the
//! server ends, whoever is dropped.
//! The role of a user counts as it is at each request, not as it was when the user came.

use super::client::Client;
use blake2::Blake2sMac256;
use blake2::digest::{KeyInit, Mac};
use muster_engine::Snapshot;
use muster_engine::catalog::UserRecord;
use musterdb::{Database, Role};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Passwords that are hashed at a time: each takes a core for some 30 ms, and 7 MiB.
const HASHES: usize = 1;

/// How long a wrong password waits for its answer: the first one of an address, and every later one at most.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Addresses whose wrong passwords are counted.
const ADDRESSES_MAX: usize = 4_096;

/// A name and a password, as a client sent them.
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Who was let in, and who tries.
pub(super) struct Access {
    /// Drawn when the server starts.
    secret: [u8; 32],
    /// Passwords that were right, under the secret, and the stored hash that they fitted: a pool of connections pays for one.
    known: Mutex<HashMap<String, ([u8; 32], String)>>,
    hashes: Semaphore,
    /// True from the first user on: who drops the last one opens the database to nobody.
    asks: AtomicBool,
    /// Wrong passwords in a row by address. Who holds an address' lock has its turn.
    wrong: Mutex<HashMap<IpAddr, Arc<tokio::sync::Mutex<u32>>>>,
}

impl Access {
    pub(super) fn new() -> Access {
        let (known, wrong) = (Mutex::default(), Mutex::default());
        Access {
            secret: rand::random(),
            known,
            hashes: Semaphore::new(HASHES),
            asks: AtomicBool::new(false),
            wrong,
        }
    }

    /// What a client may do at a moment; `None` for a stranger, who has to say first who it is.
    pub(super) fn role(&self, client: &Client, snapshot: &Snapshot) -> Option<Role> {
        if snapshot.users().is_empty() {
            return (!self.asks.load(Ordering::Relaxed)).then_some(Role::Admin);
        }
        if !self.asks.load(Ordering::Relaxed) {
            self.asks.store(true, Ordering::Relaxed);
        }
        let user = client.user()?;
        snapshot.users().iter().find(|record| record.name == user).map(|record| record.role)
    }

    /// Whether this password was found to be the user's before, and neither was changed since.
    pub(super) fn knows(&self, user: &UserRecord, password: &[u8]) -> bool {
        let sealed = self.sealed(&user.name, password);
        let known = self.known();
        known.get(&user.name).is_some_and(|(seal, hash)| *seal == sealed && *hash == user.password_hash)
    }

    /// Looks whether a password is the user's, when it is this address' turn. A wrong one takes its time: the longer, the more of
    /// them came from the address.
    ///
    /// # Errors
    /// A user's password is stored in a form that is not verified.
    pub(super) async fn verify(
        self: Arc<Self>,
        database: Database,
        credentials: Credentials,
        address: IpAddr,
    ) -> Result<bool, String> {
        let turn = self.turn(address);
        let mut wrong = turn.lock().await;
        let access = Arc::clone(&self);
        let permit = self.hashes.acquire().await.map_err(|error| error.to_string())?;
        let looked = tokio::task::spawn_blocking(move || access.look(&database, &credentials)).await;
        drop(permit);
        let right = looked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if right {
            *wrong = 0;
        } else {
            tokio::time::sleep(PAUSE.saturating_mul(1 << (*wrong).min(16)).min(PAUSE_MAX)).await;
            *wrong = wrong.saturating_add(1);
        }
        Ok(right)
    }

    fn look(
        &self,
        database: &Database,
        Credentials { user, password }: &Credentials,
    ) -> musterdb::Result<bool> {
        // The hash that is looked at, or one that is older: then it is not known, and looked at again.
        let record = database.engine().snapshot().user_named(user);
        let right = database.authenticate(user, password)?.is_some();
        if let (true, Some(record)) = (right, record) {
            let seal = self.sealed(user, password);
            self.known().insert(user.clone(), (seal, record.password_hash.clone()));
        }
        Ok(right)
    }

    fn turn(&self, address: IpAddr) -> Arc<tokio::sync::Mutex<u32>> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES_MAX {
            // Whoever is not trying at the moment begins anew.
            wrong.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(wrong.entry(network(address)).or_default())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, ([u8; 32], String)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sealed(&self, user: &str, password: &[u8]) -> [u8; 32] {
        // A key of 32 bytes is one of those that there are.
        let mut mac = Blake2sMac256::new(&self.secret.into());
        mac.update(&(user.len() as u64).to_le_bytes());
        mac.update(user.as_bytes());
        mac.update(password);
        mac.finalize().into_bytes().into()
    }
}

/// Who has one address of the sixth version has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_one_client_has() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn who_was_let_in_is_known_until_the_password_changes() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path().join("db")).unwrap();
        database.execute("CREATE USER ada PASSWORD 'correct horse' ROLE write").unwrap();
        let access = Access::new();
        let ada = |database: &Database| database.engine().snapshot().user_named("ada").unwrap();
        let look = |password: &str| {
            let password = password.as_bytes().to_vec();
            access.look(&database, &Credentials { user: "ada".into(), password }).unwrap()
        };
        assert!(!access.knows(&ada(&database), b"correct horse"));
        assert!(look("correct horse") && access.knows(&ada(&database), b"correct horse"));
        assert!(!look("wrong horse") && !access.knows(&ada(&database), b"wrong horse"));
        database.execute("ALTER USER ada PASSWORD 'battery staple'").unwrap();
        assert!(!access.knows(&ada(&database), b"correct horse"));
        assert!(!look("correct horse") && look("battery staple"));
    }
}
