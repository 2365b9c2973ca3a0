//! Opening the stream to the broker, plain or encrypted.

use std::io;
use std::sync::Arc;

use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use rumqttc::tokio_rustls::rustls::pki_types::pem::PemObject;
use rumqttc::tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use rumqttc::tokio_rustls::rustls::{ClientConfig, RootCertStore};
use rumqttc::{NetworkOptions, default_socket_connect};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Tls;
use crate::wire::Completed;

/// What carries the packets.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Connects to `address` (`host:port`), and encrypts for the name `host` when `tls` is given.
pub(crate) async fn dial(
    address: String,
    network: NetworkOptions,
    host: String,
    tls: Option<Tls>,
) -> io::Result<Completed<Box<dyn Stream>>> {
    let socket = default_socket_connect(address, network).await?;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(socket),
        Some(tls) => {
            let name =
                ServerName::try_from(host).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
            let connector = TlsConnector::from(Arc::new(client_config(&tls)?));
            Box::new(connector.connect(name, socket).await?)
        }
    };
    Ok(Completed::new(stream))
}

fn client_config(tls: &Tls) -> io::Result<ClientConfig> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&tls.ca_pem) {
        let certificate =
            certificate.map_err(|e| bad(format!("the CA certificates are not valid PEM: {e}")))?;
        roots.add(certificate).map_err(|e| bad(format!("a CA certificate is not valid: {e}")))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no CA certificate to trust the broker by".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
