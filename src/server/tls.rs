//! The certificate of a listener: issued by the installation's CA, made anew by itself when two thirds of its life are over, and when the
//! clock was put back to before it was made.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::base::supervisor::Told;
use crate::base::{Error, Result, Timestamp};
use crate::service::Kms;
use crate::service::certificates::Leaf;

/// How often it is looked whether a certificate is due.
const LOOK: Duration = Duration::from_secs(10);

/// The certificate that is in use, and when the next is due.
#[derive(Clone)]
pub(super) struct Certificates {
    names: Arc<[String]>,
    current: Arc<ArcSwap<Current>>,
}

struct Current {
    key: Arc<CertifiedKey>,
    /// It was made then. A clock that shows an earlier date was ahead when the certificate was made, and clients may not believe it yet.
    made: Timestamp,
    due: Timestamp,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificates({:?})", self.names)
    }
}

impl Certificates {
    /// With a certificate that is issued now.
    pub(super) fn new(kms: &Kms, names: Vec<String>) -> Result<Self> {
        let current = Current::of(&kms.leaf(&names)?)?;
        Ok(Self { names: names.into(), current: Arc::new(ArcSwap::from_pointee(current)) })
    }

    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1; a client certificate is not asked for.
    pub(super) fn server_config(self) -> Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(Error::internal)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Renews for as long as the server runs: until the sender of `stopping` is dropped.
    pub(super) async fn renew_on_and_on(self, kms: Weak<Kms>, mut stopping: watch::Receiver<()>) -> Told {
        while tokio::time::timeout(LOOK, stopping.changed()).await.is_err() {
            let Some(kms) = kms.upgrade() else { return Told };
            self.renew_if_due(&kms);
        }
        Told
    }

    fn renew_if_due(&self, kms: &Kms) {
        let (now, current) = (kms.now(), self.current.load());
        if (current.made..current.due).contains(&now) {
            return;
        }
        match kms.leaf(&self.names).and_then(|leaf| Current::of(&leaf)) {
            Ok(next) => {
                tracing::info!(names = ?self.names, "the certificate of the endpoint was renewed");
                self.current.store(Arc::new(next));
            }
            Err(error) => tracing::error!(names = ?self.names, ?error, "the certificate of the endpoint could not be renewed"),
        }
    }
}

impl Current {
    fn of(leaf: &Leaf) -> Result<Self> {
        let chain: Vec<_> = leaf.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf.key.expose().to_vec()));
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(Error::internal)?;
        let life = leaf.not_after.unix() - leaf.not_before.unix();
        let due = Timestamp::from_unix(leaf.not_before.unix() + life / 3 * 2);
        Ok(Self { key: Arc::new(CertifiedKey::new(chain, key)), made: leaf.not_before, due })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, FixedClock};
    use crate::model::instance::DefaultInstances;
    use crate::service::{Parts, certificates};
    use crate::store::{Authorities, RootKey, Store};
    use crate::tier::software::SoftwareTier;

    const NOW: i64 = 1_790_000_000;
    const DAY: i64 = 86_400;

    /// A service with no instances, at a date that can be moved.
    async fn service(directory: &tempfile::TempDir) -> (Arc<Kms>, Arc<FixedClock>) {
        let store = Store::create(&directory.path().join("keystead.db"), &RootKey::generate()).await.unwrap();
        let made = certificates::new_authorities(Timestamp::from_unix(NOW)).unwrap();
        let authorities = Authorities {
            root_certificate: made.root_certificate,
            root_key: made.root_key,
            issuing_certificate: made.issuing_certificate,
            issuing_key: made.issuing_key,
        };
        store.put_authorities(&authorities).await.unwrap();
        let clock = Arc::new(FixedClock::at(Timestamp::from_unix(NOW)));
        let parts = Parts {
            store,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            instances: Vec::new(),
            default_instances: DefaultInstances::default(),
            pairs: Arc::new(SoftwareTier::new()),
            alerts: None,
        };
        (Kms::start(parts).await.unwrap(), clock)
    }

    fn validity(certificates: &Certificates) -> std::ops::RangeInclusive<i64> {
        let current = certificates.current.load();
        let (_, parsed) = x509_parser::parse_x509_certificate(&current.key.cert[0]).unwrap();
        parsed.validity().not_before.timestamp()..=parsed.validity().not_after.timestamp()
    }

    #[tokio::test]
    async fn a_certificate_is_renewed_when_two_thirds_of_its_life_are_over() {
        let directory = tempfile::tempdir().unwrap();
        let (kms, clock) = service(&directory).await;
        let certificates = Certificates::new(&kms, vec!["localhost".to_owned()]).unwrap();
        let leaf = || certificates.current.load().key.cert[0].clone();
        let first = leaf();
        clock.set(Timestamp::from_unix(NOW + 60 * DAY - 1));
        certificates.renew_if_due(&kms);
        assert_eq!(leaf(), first);
        clock.set(Timestamp::from_unix(NOW + 60 * DAY));
        certificates.renew_if_due(&kms);
        assert_ne!(leaf(), first);
        assert!(*validity(&certificates).end() >= NOW + 149 * DAY);
    }

    #[tokio::test]
    async fn a_certificate_of_a_clock_that_was_ahead_is_made_anew_when_the_clock_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let (kms, clock) = service(&directory).await;
        for ahead in [3 * 3600, 400 * DAY] {
            clock.set(Timestamp::from_unix(NOW + ahead));
            let certificates = Certificates::new(&kms, vec!["localhost".to_owned()]).unwrap();
            assert!(!validity(&certificates).contains(&NOW));
            clock.set(Timestamp::from_unix(NOW));
            certificates.renew_if_due(&kms);
            assert!(validity(&certificates).contains(&NOW));
        }
    }
}
