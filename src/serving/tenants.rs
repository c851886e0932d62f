//! Several tenants in one process: a service for each, with its own catalogue, models, kept answers and providers' statistics.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::domain::Tenant;

use super::Service;

/// The services by tenant. The default tenant's is always there, the others' as long as they have a key in force: without one, nobody could ask.
pub struct Tenants {
    default: Arc<Service>,
    others: ArcSwap<BTreeMap<Tenant, Arc<Service>>>,
    /// Held by whoever starts services; those that could not be started, so that each is complained of once.
    starting: Mutex<HashSet<Tenant>>,
}

impl Tenants {
    #[must_use]
    pub fn new(default: Arc<Service>) -> Self {
        Self { default, others: ArcSwap::default(), starting: Mutex::default() }
    }

    /// The service of the default tenant.
    #[must_use]
    pub fn default_service(&self) -> &Arc<Service> {
        &self.default
    }

    /// The service of this tenant; `None`: it has not started yet.
    #[must_use]
    pub fn service(&self, tenant: &Tenant) -> Option<Arc<Service>> {
        if tenant.is_default() {
            return Some(Arc::clone(&self.default));
        }
        self.others.load().get(tenant).cloned()
    }

    /// All services that run.
    #[must_use]
    pub fn services(&self) -> Vec<Arc<Service>> {
        std::iter::once(&self.default).chain(self.others.load().values()).cloned().collect()
    }

    /// Whether the default tenant is the only one.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.others.load().is_empty()
    }

    /// Starts the services of these tenants that do not run yet, and lets go of those of others.
    pub async fn serve(&self, wanted: &BTreeSet<Tenant>) {
        // Whoever is second has nothing to add: it looks again in a second.
        let Ok(mut complained) = self.starting.try_lock() else { return };
        let running = self.others.load_full();
        let wanted = || wanted.iter().filter(|tenant| !tenant.is_default());
        if wanted().count() == running.len() && wanted().all(|tenant| running.contains_key(tenant)) {
            return;
        }
        let start = |tenant: Tenant| {
            let running = running.get(&tenant).cloned();
            async move {
                let service = match running {
                    Some(service) => Ok(service),
                    None => {
                        let store = self.default.store.of_tenant(&tenant);
                        self.default.start_beside(store).await
                    }
                };
                (tenant, service)
            }
        };
        let mut services = BTreeMap::new();
        for (tenant, service) in join_all(wanted().cloned().map(start)).await {
            match service {
                Ok(service) => {
                    complained.remove(&tenant);
                    services.insert(tenant, service);
                }
                Err(error) => {
                    if complained.insert(tenant.clone()) {
                        tracing::error!(%error, %tenant, "a tenant cannot be served; trying on");
                    }
                }
            }
        }
        self.others.store(Arc::new(services));
    }
}
