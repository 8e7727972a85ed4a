//! The demo server as the SDK sees it.
//!
//! The SDK makes one [`DemoServer`] for each legacy session and one for each modern request; what they share is
//! [`Shared`].

use super::notes::{self, Change, Notes};
use super::prompts::PROMPTS;
use super::resources;
use super::tools::TOOLS;
use parking_lot::Mutex;
use rmcp::model::{
    CacheScope, CompleteRequestParams, CompleteResult, CompletionInfo, ErrorData, Implementation,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ResourceUpdatedNotificationParam,
    ServerCapabilities, ServerConfig, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{Peer, RoleServer, ServerHandler, prompt_handler, tool_handler};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Resources that one session may be subscribed to.
const SUBSCRIPTIONS_MAX: usize = 64;

/// How long a client may keep the list of tools, which never changes while the server runs.
const TOOLS_TTL_MS: u64 = 300_000;

const INSTRUCTIONS: &str = "A demonstration server with small tools: an echo, a calculator, a clock, random ids, text \
                            statistics, a cancellable wait, and notes that can be subscribed to.";

/// What all sessions and requests share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    notes: Notes,
    stopping: watch::Sender<bool>,
}

impl Shared {
    /// Ends every `subscriptions/listen` as the protocol wants it: with a result.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// One legacy session, or one modern request.
#[derive(Debug)]
pub(super) struct DemoServer {
    shared: Arc<Shared>,
    subscribed: Arc<Mutex<HashSet<String>>>,
    news: Mutex<Option<AbortOnDrop>>,
}

impl DemoServer {
    pub fn new(shared: Arc<Shared>) -> DemoServer {
        DemoServer { shared, subscribed: Arc::default(), news: Mutex::new(None) }
    }

    pub fn notes(&self) -> &Notes {
        &self.shared.notes
    }
}

#[tool_handler(router = TOOLS)]
#[prompt_handler(router = PROMPTS)]
impl ServerHandler for DemoServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_prompts()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_tools()
            .build();
        let implementation = Implementation::new("lockgate-demo", env!("CARGO_PKG_VERSION"))
            .with_title("Lockgate demo server")
            .with_description("The MCP server embedded in Lockgate");
        ServerConfig::new(capabilities).with_server_info(implementation).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let list = ListToolsResult::with_all_items(TOOLS.list_all());
        // Revisions before this one know no such members.
        let knows_caching = context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        Ok(if knows_caching { list.with_ttl_ms(TOOLS_TTL_MS).with_cache_scope(CacheScope::Public) } else { list })
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list(self.notes())))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = resources::read(self.notes(), &request.uri)
            .ok_or_else(|| ErrorData::resource_not_found(format!("there is no resource {}", request.uri), None))?;
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = resources::complete(self.notes(), &request.r#ref, &request.argument.name, &request.argument.value);
        let completion =
            CompletionInfo::with_all_values(values).map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(completion))
    }

    async fn subscribe(&self, request: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        if !resources::can_change(&request.uri) {
            return Err(ErrorData::invalid_params(format!("{} does not change", request.uri), None));
        }
        let mut subscribed = self.subscribed.lock();
        if subscribed.len() >= SUBSCRIPTIONS_MAX && !subscribed.contains(&request.uri) {
            return Err(ErrorData::invalid_params(
                format!("at most {SUBSCRIPTIONS_MAX} subscriptions a session"),
                None,
            ));
        }
        subscribed.insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.subscribed.lock().remove(&request.uri);
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let news = tell_session(context.peer, self.notes().changes(), Arc::clone(&self.subscribed));
        *self.news.lock() = Some(AbortOnDrop(tokio::spawn(news)));
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = requested.supported_by(&self.get_info().capabilities);
        if let Some(uris) = &mut accepted.resource_subscriptions {
            uris.retain(|uri| resources::can_change(uri));
        }
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.notes().changes();
        let mut stopping = self.shared.stopping.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
                change = next(&mut changes) => change,
            };
            let Some(change) = change else { return Ok(()) };
            let accepted = context.accepted();
            if change.list && accepted.resources_list_changed == Some(true) {
                // Whether it arrives or not, the cancellation tells when to stop.
                let _ = context.sink().notify_resource_list_changed().await;
            }
            for uri in changed_uris(&change) {
                if accepted.resource_subscriptions.as_ref().is_some_and(|uris| uris.iter().any(|other| other == uri)) {
                    let _ = context.sink().notify_resource_updated(uri).await;
                }
            }
        }
    }
}

/// Tells a legacy session what changes, until it is gone.
async fn tell_session(peer: Peer<RoleServer>, mut changes: Receiver<Change>, subscribed: Arc<Mutex<HashSet<String>>>) {
    while let Some(change) = next(&mut changes).await {
        if change.list && peer.notify_resource_list_changed().await.is_err() {
            return;
        }
        for uri in changed_uris(&change) {
            let wanted = subscribed.lock().contains(uri);
            if wanted && peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_err() {
                return;
            }
        }
    }
}

/// The resources that read otherwise after a change.
fn changed_uris(change: &Change) -> impl Iterator<Item = &str> {
    std::iter::once(&*change.uri).chain(change.list.then_some(notes::INDEX_URI))
}

/// The next change; one who is too slow misses some.
async fn next(changes: &mut Receiver<Change>) -> Option<Change> {
    loop {
        match changes.recv().await {
            Ok(change) => return Some(change),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

/// A task that ends with what it works for.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
