//! Who this edge is and who a neighbour proves to be: certificates under control's authority, on both sides.

use crate::counters::WorkerCounters;
use crate::link::TrunkConfig;
use crate::trunk::crypto::Counting;
use crate::trunk::ids::Ids;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, ConnectError, Connecting, Connection, Endpoint, ServerConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tradewind_core::mesh::wire::ALPN;

/// This edge's certificate chain and key, and the authority for everybody's.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

/// Reads the PEM texts of the configuration.
pub fn load(config: &TrunkConfig) -> io::Result<Identity> {
    let chain = certificates(&config.certificate_pem, "trunk certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&config.key_pem).map_err(|error| invalid("trunk key", &error))?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&config.ca_pem, "trunk authority")? {
        roots
            .add(authority)
            .map_err(|error| invalid("trunk authority", &error))?;
    }
    Ok(Identity {
        chain,
        key,
        roots: Arc::new(roots),
    })
}

impl Identity {
    /// Settings for accepting: a certificate of the authority is demanded.
    pub fn server(
        &self,
        transport: Arc<TransportConfig>,
        counters: &Arc<WorkerCounters>,
        ids: &Arc<Ids>,
    ) -> io::Result<ServerConfig> {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider))
            .build()
            .map_err(|error| invalid("trunk authority", &error))?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| invalid("TLS 1.3", &error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| invalid("trunk certificate", &error))?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicServerConfig::try_from(tls).map_err(|error| invalid("trunk certificate", &error))?;
        let crypto = Counting::accepted(Arc::new(crypto), counters, ids);
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(transport);
        Ok(server)
    }

    /// What this edge dials with: the certificate must name the edge that is dialled.
    pub fn dialler(
        &self,
        endpoint: Endpoint,
        transport: Arc<TransportConfig>,
        counters: &Arc<WorkerCounters>,
        ids: &Arc<Ids>,
    ) -> io::Result<Dialler> {
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| invalid("TLS 1.3", &error))?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| invalid("trunk certificate", &error))?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| invalid("trunk certificate", &error))?;
        Ok(Dialler {
            endpoint,
            crypto: Arc::new(crypto),
            transport,
            counters: Arc::clone(counters),
            ids: Arc::clone(ids),
        })
    }
}

/// The endpoint, and what it takes to dial from it.
#[derive(Clone)]
pub struct Dialler {
    /// Accepts, too.
    pub endpoint: Endpoint,
    crypto: Arc<QuicClientConfig>,
    transport: Arc<TransportConfig>,
    counters: Arc<WorkerCounters>,
    ids: Arc<Ids>,
}

impl Dialler {
    /// Begins a connection to `peer`.
    pub fn dial(&self, address: SocketAddr, peer: &str) -> Result<Connecting, ConnectError> {
        let crypto = Counting::dialled(Arc::clone(&self.crypto), &self.counters, &self.ids, address);
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::clone(&self.transport));
        self.endpoint.connect_with(client, address, peer)
    }
}

/// The names in the certificate a neighbour has proven to hold. The first one that is a known edge is its identity.
pub fn peer_names(connection: &Connection) -> Vec<String> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let Some(leaf) = chain.as_deref().and_then(|chain| chain.first()) else {
        return Vec::new();
    };
    // The chain was verified in the handshake; only its names are read here.
    match webpki::EndEntityCert::try_from(leaf) {
        Ok(certificate) => certificate.valid_dns_names().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

fn certificates(pem: &[u8], what: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(what, &error))?;
    if chain.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{what}: no certificate in the PEM text"),
        ));
    }
    Ok(chain)
}

fn invalid(what: &str, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {error}"))
}
