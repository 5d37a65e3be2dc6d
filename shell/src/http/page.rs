//! The web page: embedded, without foreign parts.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, Uri, header};
use axum::response::IntoResponse;

use super::problem::Problem;

/// Where programs ask, and no page is.
const API: [&str; 3] = ["api", "strategies", "queues"];
const INDEX: &str = include_str!("../../assets/index.html");
const SCRIPT: &str = include_str!("../../assets/app.js");
const CHART: &str = include_str!("../../assets/chart.js");
const LOGIN: &str = include_str!("../../assets/login.js");
const STYLE: &str = include_str!("../../assets/style.css");
const DOCS: &str = include_str!("../../assets/docs.html");
const DOCS_SCRIPT: &str = include_str!("../../assets/docs.js");
const DOCS_STYLE: &str = include_str!("../../assets/docs.css");
const ICON: &str = include_str!("../../assets/icon.svg");

fn asset(content_type: &'static str, text: &'static str) -> Response<Body> {
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A new build must never run an old script against a new API.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// GET /
pub async fn index() -> Response<Body> {
    asset("text/html; charset=utf-8", INDEX)
}

/// GET /app.js
pub async fn script() -> Response<Body> {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// GET /chart.js
pub async fn chart() -> Response<Body> {
    asset("text/javascript; charset=utf-8", CHART)
}

/// GET /login.js
pub async fn login() -> Response<Body> {
    asset("text/javascript; charset=utf-8", LOGIN)
}

/// GET /style.css
pub async fn style() -> Response<Body> {
    asset("text/css; charset=utf-8", STYLE)
}

/// GET /icon.svg
pub async fn icon() -> Response<Body> {
    asset("image/svg+xml", ICON)
}

/// GET /docs
pub async fn docs() -> Response<Body> {
    asset("text/html; charset=utf-8", DOCS)
}

/// GET /docs.js
pub async fn docs_script() -> Response<Body> {
    asset("text/javascript; charset=utf-8", DOCS_SCRIPT)
}

/// GET /docs.css
pub async fn docs_style() -> Response<Body> {
    asset("text/css; charset=utf-8", DOCS_STYLE)
}

/// Everything else: unknown API paths are JSON errors, the rest is the page.
pub async fn fallback(method: Method, uri: Uri) -> Response<Body> {
    if uri.path().split('/').nth(1).is_some_and(|first| API.contains(&first)) {
        Problem::no_such_path().into_response()
    } else if matches!(method, Method::GET | Method::HEAD) {
        asset("text/html; charset=utf-8", INDEX)
    } else {
        wrong_method().await
    }
}

/// A known path, another method.
pub async fn wrong_method() -> Response<Body> {
    Problem::wrong_method().into_response()
}
