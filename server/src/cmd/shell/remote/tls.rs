//! TLS of the shell: whom it trusts, and the handshake, whose failures say what to do.

use super::connection::Socket;
use super::failed;
use crate::failure::Failure;
use musterdb::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
};

/// What is said where a server's answer to a shell without TLS makes no sense.
pub(super) const PERHAPS: &str = "; a server that speaks TLS is asked with --tls";

/// The authorities whose certificates are taken.
#[derive(Clone)]
pub(in crate::cmd::shell) struct Trust {
    config: Arc<ClientConfig>,
    /// The file that names them, and the system's where there is none.
    file: Option<PathBuf>,
}

impl Trust {
    /// Reads the authorities of a file, or of the system.
    pub(in crate::cmd::shell) fn read(file: Option<&Path>) -> crate::failure::Result<Trust> {
        let roots = match file {
            Some(file) => of_file(file)?,
            None => of_system()?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(format!("TLS cannot be spoken: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust { config: Arc::new(config), file: file.map(Path::to_owned) })
    }
}

fn of_file(file: &Path) -> crate::failure::Result<RootCertStore> {
    let shown = file.display();
    let cannot =
        |why: &dyn std::fmt::Display| Failure::new(format!("the authorities {shown} cannot be read: {why}"));
    let certificates =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| match error {
        pem::Error::Io(error) => cannot(&error),
        other => cannot(&other),
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| cannot(&error))?;
    }
    if roots.is_empty() {
        return Err(Failure::new(format!(
            "there is no certificate in {shown}: it is a text with -----BEGIN CERTIFICATE-----"
        )));
    }
    Ok(roots)
}

/// What the system trusts, but for what cannot be read, as long as something is left.
fn of_system() -> crate::failure::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Failure::new(format!("this system trusts no authority{why}: name one with --ca FILE")));
    }
    Ok(roots)
}

/// Shakes hands with `server`, `HOST:PORT`.
pub(super) fn shake_hands(
    server: &str,
    trust: &Trust,
    socket: Socket,
) -> Result<StreamOwned<ClientConnection, Socket>> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        failed(format!("no certificate can be for {host:?}: write the server's name, or its address"))
    })?;
    let connection = ClientConnection::new(Arc::clone(&trust.config), name)
        .map_err(|error| failed(format!("TLS cannot be spoken with {server}: {error}")))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        let handed = stream.conn.complete_io(&mut stream.sock);
        handed.map_err(|error| refused(server, host, trust, &error))?;
    }
    Ok(stream)
}

fn refused(server: &str, host: &str, trust: &Trust, error: &io::Error) -> Error {
    let said = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let authorities = match &trust.file {
        Some(file) => format!("no authority of {} has signed it", file.display()),
        None => "no authority that this system trusts has signed it; --ca FILE names another one".to_owned(),
    };
    failed(match said {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            // A bad signature is one of another authority of the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("the certificate of {server} is not trusted: {authorities}")
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<String> = presented.iter().map(|name| bare(name)).collect();
                format!(
                    "the certificate of {server} is not for {host}, but for {}: connect by a name that it has",
                    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate of {server} is of no use: it has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {server} is of no use: it is not valid yet")
            }
            // The verifier's own error has no name here.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
                "the certificate of {server} is that of an authority: a server's own is signed by one, and not one itself"
            ),
            other => format!("the certificate of {server} is not trusted: {other}"),
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{server} speaks no TLS: leave --tls away, or connect to the port that speaks it")
        }
        Some(other) => format!("no TLS with {server}: {other}"),
        None => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("{server} has not answered to TLS in time; does it speak it?")
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                format!(
                    "{server} closed the connection in the handshake: it speaks no TLS, or takes no more clients"
                )
            }
            _ => format!("no TLS with {server}: {error}"),
        },
    })
}

/// A name that a certificate has, out of what the verifier calls it: `DnsName("db.example.com")`.
fn bare(presented: &str) -> String {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(presented).trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are_written() {
        assert_eq!(bare("DnsName(\"db.example.com\")"), "db.example.com");
        assert_eq!(bare("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(bare("other"), "other");
    }
}
