//! Measures the calls to STS.

use std::sync::Arc;

use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::http::client::{Call, Client, ResponseFuture, Transport};

use super::{Counters, Timings, of_calls};

/// What is measured.
#[derive(Clone, Debug)]
pub(super) struct Calls(Timings<[(&'static str, Arc<str>); 2]>);

/// The calls to one endpoint, which are measured.
#[derive(Debug)]
pub struct TimedTransport {
    client: Client,
    endpoint: Arc<str>,
    calls: Calls,
}

impl TimedTransport {
    /// Measures the calls of a client to an endpoint, if there are counters.
    pub fn wrap(client: Client, endpoint: &str, counters: Option<&Counters>) -> Client {
        match counters {
            Some(counters) => Client::with_transport(Self {
                client,
                endpoint: endpoint.into(),
                calls: counters.calls.clone(),
            }),
            None => client,
        }
    }
}

impl Transport for TimedTransport {
    fn send<'a>(&'a self, call: Call<'a>) -> ResponseFuture<'a> {
        Box::pin(async move {
            let started = Instant::now();
            let response = self.client.call(call).await;
            let outcome = match &response {
                Ok(response) if response.status == 200 => "success",
                Ok(_) => "refused",
                Err(_) => "unreachable",
            };
            let labels = [
                ("endpoint", Arc::clone(&self.endpoint)),
                ("outcome", outcome.into()),
            ];
            let seconds = started.elapsed().as_secs_f64();
            self.calls.0.get_or_create(&labels).observe(seconds);
            response
        })
    }
}

impl Calls {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "ram_sidecar_sts_request_duration",
            "How long calls to STS took",
            Unit::Seconds,
            self.0.clone(),
        );
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self(Family::new_with_constructor(of_calls))
    }
}
