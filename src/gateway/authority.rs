//! The credential of one attempt, where it is more than a fixed header: held
//! before the attempt connects, put on when everything else is there.

use super::failure::Failure;
use crate::credential::{Credential, Lease, Outgoing};
use crate::route::fault::Fault;
use crate::table::Provider;
use bytes::Bytes;
use pingora_http::RequestHeader;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

/// A provider's credential, as it is for this attempt.
pub struct Authority {
    credential: Arc<Credential>,
    lease: Arc<Lease>,
}

impl Authority {
    /// What `provider` is to be shown; waits where it has to be fetched first.
    pub async fn of(provider: &Provider) -> Result<Option<Self>, Failure> {
        let Some(credential) = &provider.credential else {
            return Ok(None);
        };
        let lease = credential.lease().await.map_err(Failure::unauthorized)?;
        Ok(Some(Self {
            credential: Arc::clone(credential),
            lease,
        }))
    }

    /// Puts it on a request that is otherwise as it will be sent.
    pub fn sign(&self, head: &mut RequestHeader, body: &[Bytes]) -> Result<(), Failure> {
        let target = String::from_utf8_lossy(head.raw_path()).into_owned();
        let body = match body {
            [one] => Cow::Borrowed(&**one),
            pieces => Cow::Owned(pieces.concat()),
        };
        let outgoing = Outgoing {
            method: head.method.as_str(),
            target: &target,
            headers: &head.headers,
            body: &body,
            now: SystemTime::now(),
        };
        let headers = self.credential.headers(&self.lease, &outgoing);
        for (name, value) in headers.map_err(Failure::unauthorized)? {
            head.insert_header(name, value)
                .map_err(Failure::unauthorized)?;
        }
        Ok(())
    }

    /// Gives up what the provider refused.
    pub fn learn(&self, failure: &Failure) {
        if failure.fault == Fault::Credential {
            self.credential.refused(&self.lease);
        }
    }
}
