//! The paths of the admin listener.

use super::answer::Refusal;
use super::control::{ConfigForm, Control, MetricsPolicy, ReloadOutcome};
use super::{Limits, guard, timestamp};
use axum::body::{Bytes, HttpBody};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::sync::Arc;

const GENERATION: HeaderName = HeaderName::from_static("x-lockgate-generation");

#[derive(Clone)]
struct Admin {
    control: Arc<dyn Control>,
    limits: Limits,
    loopback: bool,
}

/// The router; `loopback` says where its listener is bound.
pub(super) fn router(control: Arc<dyn Control>, limits: Limits, loopback: bool) -> Router {
    let admin = Admin { control, limits, loopback };
    let for_the_operator = Router::new()
        .route("/config", get(config))
        .route("/backends", get(async |State(admin): State<Admin>| Json(admin.control.backends())))
        .route("/servers", get(async |State(admin): State<Admin>| Json(admin.control.servers())))
        .route("/reload", post(reload))
        .route_layer(middleware::from_fn_with_state(admin.clone(), operator_only));
    Router::new()
        .route("/healthz", get(alive))
        .route("/health", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .merge(for_the_operator)
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(middleware::from_fn_with_state(admin.clone(), every_request))
        .with_state(admin)
}

impl Admin {
    fn operator(&self, parts: &Parts) -> Result<(), Refusal> {
        guard::not_from_a_page(parts, self.loopback, &self.control.allowed_hosts())?;
        guard::token(parts, &self.control.token())
    }

    fn metrics_reader(&self, parts: &Parts) -> Result<(), Refusal> {
        match self.control.metrics_policy() {
            MetricsPolicy::Open => guard::no_origin(parts),
            MetricsPolicy::Loopback if self.loopback => {
                guard::not_from_a_page(parts, self.loopback, &self.control.allowed_hosts())
            }
            MetricsPolicy::Loopback | MetricsPolicy::Token => self.operator(parts),
        }
    }
}

async fn every_request(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
    let mut response = if announced > admin.limits.body_bytes {
        Refusal::BodyTooLong.into_response()
    } else {
        let answer = tokio::time::timeout(admin.limits.request_time, next.run(request)).await;
        answer.unwrap_or_else(|_| Refusal::TooSlow.into_response())
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn operator_only(State(admin): State<Admin>, request: Request, next: Next) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    admin.operator(&parts)?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(admin): State<Admin>, parts: Parts) -> Result<Response, Refusal> {
    if !guard::has_credentials(&parts) {
        return Ok(match admin.control.ready() {
            true => (StatusCode::OK, "ok\n").into_response(),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
        });
    }
    admin.operator(&parts)?;
    let detail = admin.control.detail();
    let status = if detail.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(detail)).into_response())
}

async fn metrics(State(admin): State<Admin>, parts: Parts) -> Result<Response, Refusal> {
    admin.metrics_reader(&parts)?;
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(CONTENT_TYPE, content_type)], admin.control.metrics()).into_response())
}

async fn config(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let form = wanted_form(&headers);
    let config = admin.control.config(form);
    let (generation, since, text) = (config.generation, timestamp::rfc3339(config.since_unix_seconds), config.text);
    let (content_type, text) = match form {
        ConfigForm::Yaml => ("application/yaml", format!("# generation {generation}, loaded {since}\n{text}")),
        ConfigForm::Json => {
            let head = format!("\"generation\":{generation},\"loaded\":\"{since}\"");
            ("application/json", format!("{{{head},\"config\":{text}}}\n"))
        }
    };
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type)), (GENERATION, generation.into())];
    (headers, text).into_response()
}

/// JSON for those who name it before YAML.
fn wanted_form(headers: &HeaderMap) -> ConfigForm {
    let types =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for accepted in types {
        let essence = accepted.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            return ConfigForm::Json;
        }
        if essence.to_ascii_lowercase().ends_with("yaml") {
            return ConfigForm::Yaml;
        }
    }
    ConfigForm::Yaml
}

async fn reload(State(admin): State<Admin>, body: Result<Bytes, BytesRejection>) -> Result<Response, Refusal> {
    // The body is read, within its limit, so that the connection can be used again; it says nothing.
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::BodyTooLong,
        _ => Refusal::BodyUnreadable,
    })?;
    // On a task of its own: a reload that has begun ends, even if the operator hangs up.
    let reloading = tokio::spawn(async move { admin.control.reload().await });
    let outcome = reloading.await.map_err(|error| {
        tracing::error!(%error, "the reload failed");
        Refusal::Failed
    })?;
    let status = match outcome {
        ReloadOutcome::Rejected { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ReloadOutcome::Applied { .. } | ReloadOutcome::Unchanged { .. } => StatusCode::OK,
    };
    Ok((status, Json(outcome)).into_response())
}
