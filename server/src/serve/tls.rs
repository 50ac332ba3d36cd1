//! TLS: the certificate and its key, read anew when the server is told to, and the handshake of a client under a time-out.
//!
//! A client that does not speak TLS is told so in its own words, before anything else is read of it.

use crate::failure::{Failure, Result};
use crate::resp::TLS_HANDSHAKE;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, ServerConfig};
use tokio_rustls::server::TlsStream;
use tracing::{error, info};

/// What a client hears that begins with something else.
const NOT_TLS: &[u8] =
    b"-ERR this server speaks TLS only: connect with TLS (muster shell --tls, redis-cli --tls)\r\n";

/// What a server shows its clients.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// How long a handshake may take.
    patience: Duration,
    /// Connections keep what they have begun with.
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a certificate (with those that lead to its authority, if there are any) and its key, both PEM.
    pub(crate) fn read(certificate: &Path, key: &Path, patience: Duration) -> Result<Tls> {
        let config = RwLock::new(Arc::new(config(certificate, key)?));
        Ok(Tls { certificate: certificate.to_owned(), key: key.to_owned(), patience, config })
    }

    /// Reads both files again, for the clients to come. Where something is wrong with them nothing changes.
    pub(super) fn read_again(&self) -> Result<()> {
        let config = Arc::new(config(&self.certificate, &self.key)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Shakes hands with a client.
    pub(super) async fn accept(&self, mut socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let handshake = async {
            let mut first = [0];
            if socket.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
                socket.write_all(NOT_TLS).await?;
                super::socket::leave(&mut socket).await?;
                return Err(io::ErrorKind::InvalidData.into());
            }
            TlsAcceptor::from(config).accept(socket).await
        };
        tokio::time::timeout(self.patience, handshake).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Reads the files again whenever the process gets SIGHUP, as long as it lives.
#[cfg(unix)]
pub(super) fn read_again_when_told(tls: &Arc<Tls>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
    let tls = Arc::clone(tls);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match tls.read_again() {
                Ok(()) => {
                    let certificate = tls.certificate.display();
                    info!(target: "muster::serve", %certificate, "the certificate and its key were read again");
                }
                Err(failure) => {
                    let error = failure.text();
                    error!(target: "muster::serve", error, "the certificate was not read again; the old one stays");
                }
            }
        }
    });
    Ok(())
}

fn config(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let (shown, shown_key) = (certificate.display(), key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| Failure::new(format!("the certificate {shown} cannot be read: {}", why(&error))))?;
    if chain.is_empty() {
        return Err(Failure::new(format!(
            "there is no certificate in {shown}: it is a text with -----BEGIN CERTIFICATE-----"
        )));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        Failure::new(match error {
            pem::Error::NoItemsFound => {
                format!("there is no key in {shown_key}: it is a text with -----BEGIN PRIVATE KEY-----, without a password")
            }
            other => format!("the key {shown_key} cannot be read: {}", why(&other)),
        })
    })?;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| {
            Failure::new(match error {
                Error::InconsistentKeys(_) => {
                    format!("the key {shown_key} is not that of the certificate {shown}")
                }
                other => format!("the certificate {shown} with the key {shown_key} cannot be used: {other}"),
            })
        })
}

/// An error of a file in the words of the system.
fn why(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
