//! The check in front of every route: who asks, whether they may, and how often.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;

use super::body::Fields;
use super::problem::Problem;
use super::{App, trail};
use crate::auth::limits::{Verdict, Who};
use crate::auth::permission::Permissions;
use crate::auth::{Auth, Principal};

const NOT_VALID: &str =
    "these credentials are not valid, or no longer: refresh the token, log in again, or use another key";

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Everybody, unless the configuration says otherwise; then whoever reads the configuration.
    Metrics,
    /// Whoever shows who they are.
    SignedIn,
    /// Whoever has one of these.
    AnyOf(Permissions),
    /// The same, and a one-time ticket in the query will do.
    Stream(Permissions),
}

/// Which bucket a route is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// The caller's general one.
    Requests,
    /// The caller's bucket for what reduces risk.
    Cancels,
    /// The address's bucket for guesses.
    Logins,
}

/// Where a request came from; in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Of this request. Without a connection (a test, say) all callers are one.
    #[must_use]
    pub fn of<B>(request: &axum::http::Request<B>) -> IpAddr {
        request.extensions().get::<Self>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
    }
}

/// Who a WebSocket was opened by; in the extensions of the requests that come by it, which have no credentials.
#[derive(Clone)]
pub struct Opened(pub Principal);

/// In front of a route: authenticates, authorises, counts, and puts the [`Principal`] into the extensions of the request
/// and of the answer.
pub async fn check(
    State((app, access, bucket)): State<(Arc<App>, Access, Bucket)>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let Some(auth) = &app.auth else {
        let principal = Principal::local();
        trail::identify(request.extensions(), &principal.user_id);
        request.extensions_mut().insert(principal);
        return next.run(request).await;
    };
    let principal = match authorise(&app, auth, access, &request) {
        Ok(principal) => principal,
        Err(problem) => return problem.into_response(),
    };
    if let Some(principal) = &principal {
        trail::identify(request.extensions(), &principal.user_id);
    }
    let address = Peer::of(&request);
    let who = principal.as_ref().map_or(address.into(), |principal| Who::of(principal, address));
    let limits = auth.limits();
    let verdict = match bucket {
        Bucket::Requests => limits.requests.take(who),
        Bucket::Cancels => limits.cancels.take(who),
        Bucket::Logins => limits.logins.take(address.into()),
    };
    let mut response = if verdict.allowed {
        if let Some(principal) = &principal {
            request.extensions_mut().insert(principal.clone());
        }
        next.run(request).await
    } else {
        too_often(&verdict).into_response()
    };
    tell(&mut response, &verdict);
    if let Some(principal) = principal {
        response.extensions_mut().insert(principal);
    }
    response
}

/// Before anything else of a request is looked at: its address's bucket.
///
/// # Errors
/// 429.
pub fn admit<B>(app: &App, request: &axum::http::Request<B>) -> Result<(), Problem> {
    let Some(auth) = &app.auth else { return Ok(()) };
    let verdict = auth.limits().address.take(Peer::of(request).into());
    if verdict.allowed { Ok(()) } else { Err(too_often(&verdict)) }
}

/// Before the large body of a request is read: whether its caller may pass, at all. [`check`] asks again.
///
/// # Errors
/// 401 and 403.
pub fn foresee(app: &App, access: Access, request: &Request) -> Result<(), Problem> {
    let Some(auth) = &app.auth else { return Ok(()) };
    let principal = authorise(app, auth, access, request)?;
    if let Some(principal) = principal {
        trail::identify(request.extensions(), &principal.user_id);
    }
    Ok(())
}

/// Who may pass; nobody in particular where everybody may.
fn authorise(
    app: &App,
    auth: &Auth,
    access: Access,
    request: &Request,
) -> Result<Option<Principal>, Problem> {
    let wanted = match access {
        Access::Public => return Ok(None),
        Access::Metrics if auth.public_metrics() => return Ok(None),
        Access::Metrics => Some(Permissions::of(&[crate::auth::permission::Permission::ReadConfig])),
        Access::SignedIn => None,
        Access::AnyOf(wanted) | Access::Stream(wanted) => Some(wanted),
    };
    let query = if matches!(access, Access::Stream(_)) { request.uri().query() } else { None };
    let principal = match request.extensions().get::<Opened>() {
        // As things stand now: a key may have been revoked since.
        Some(Opened(principal)) => auth.renew(principal).ok_or_else(|| Problem::unauthorized(NOT_VALID))?,
        None => authenticate(auth, request.headers(), query)?,
    };
    if wanted.is_some_and(|wanted| principal.permissions.and(wanted).is_empty()) {
        return Err(Problem::forbidden(wanted.unwrap_or_default()));
    }
    if principal.account != app.gateway.settings.account {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this user belongs to another account: ask the shell of that account",
        ));
    }
    Ok(Some(principal))
}

/// Exactly one credential, and it must be good.
fn authenticate(auth: &Auth, headers: &HeaderMap, query: Option<&str>) -> Result<Principal, Problem> {
    let mut found = Vec::with_capacity(1);
    for value in headers.get_all(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        found.push(token.and_then(|token| auth.by_token(token)));
    }
    for value in headers.get_all("x-api-key") {
        found.push(value.to_str().ok().and_then(|key| auth.by_api_key(key.trim())));
    }
    if found.is_empty()
        && let Some(ticket) = Fields::from_query(query)?.text("ticket")?
    {
        found.push(auth.by_ticket(ticket));
    }
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Problem::unauthorized(
            "credentials are needed: log in with POST /api/auth/login and send `Authorization: Bearer TOKEN`, or send \
             `X-API-Key`",
        )),
        (Some(Some(principal)), true) => Ok(principal),
        (Some(_), false) => Err(Problem::unauthorized("send one credential, not several")),
        (Some(None), true) => Err(Problem::unauthorized(NOT_VALID)),
    }
}

fn too_often(verdict: &Verdict) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "too many requests: wait as long as Retry-After says",
    )
    .retry_after(verdict.retry_after_s)
}

fn tell(response: &mut Response<Body>, verdict: &Verdict) {
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-ratelimit-limit", verdict.limit),
        ("x-ratelimit-remaining", verdict.remaining),
        ("x-ratelimit-reset", verdict.reset_s),
    ] {
        headers.insert(name, HeaderValue::from(value));
    }
}
