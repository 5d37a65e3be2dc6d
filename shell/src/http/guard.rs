//! Who may talk to a gate without authentication: this machine's own user, and no web page of anybody else.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::problem::Problem;

/// Only what this server serves itself may run in the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// With authentication off: the Host is loopback (no DNS name of a stranger points here), and nothing is changed on
/// behalf of a foreign page.
///
/// # Errors
/// 403, or 400 without a Host.
pub fn check<B>(request: &Request<B>, scheme: &str) -> Result<(), Problem> {
    let headers = request.headers();
    let host = single(headers, header::HOST)
        .or_else(|| request.uri().authority().map(|authority| authority.as_str()))
        .ok_or_else(|| Problem::field("bad_request", "host", "one Host header is required"))?;
    let foreign = |message: &str| Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message));
    if !is_loopback(host) {
        return foreign(
            "without authentication only loopback hosts are served: use http://127.0.0.1 or localhost",
        );
    }
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    if headers.contains_key(header::ORIGIN)
        && single(headers, header::ORIGIN) != Some(format!("{scheme}://{host}").as_str())
    {
        return foreign("this Origin may not change anything here");
    }
    if headers.contains_key("sec-fetch-site")
        && !matches!(single(headers, "sec-fetch-site"), Some("same-origin" | "none"))
    {
        return foreign("another site may not change anything here");
    }
    Ok(())
}

/// A page of another origin opens no socket here: unlike its other requests, a browser would let it read the answers.
///
/// # Errors
/// 403.
pub fn same_origin(headers: &HeaderMap, scheme: &str) -> Result<(), Problem> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin = single(headers, header::ORIGIN);
    let own = origin.and_then(|origin| origin.strip_prefix(scheme)?.strip_prefix("://"));
    if own.is_some() && own == single(headers, header::HOST) {
        return Ok(());
    }
    let message =
        "this Origin may not open a socket here: open it from a page of this server, or without Origin";
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message))
}

/// A header that stands exactly once.
fn single(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only.and_then(|value| value.to_str().ok())
}

/// Whether `host[:port]` names this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) if port.is_empty() || port.starts_with(':') => v6,
        Some(_) => return false,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What every answer carries.
pub fn secure(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// A browser that has once been here over TLS does not come without it.
pub fn only_tls(response: &mut Response<Body>) {
    let value = HeaderValue::from_static("max-age=31536000");
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_pass() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.9.9.9", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.evil.com",
            "127.0.0.1.nip.io:80",
            "10.0.0.1",
            "[::2]",
            "[::1]x",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_foreign_page_cannot_change_anything() {
        let ask = |method: &str, extra: &[(&str, &str)]| {
            let mut request =
                Request::builder().method(method).uri("/api/order").header("host", "localhost:8080");
            for (name, value) in extra {
                request = request.header(*name, *value);
            }
            check(&request.body(()).unwrap(), "http").is_ok()
        };
        assert!(ask("POST", &[]));
        assert!(ask("POST", &[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")]));
        assert!(ask("GET", &[("origin", "https://evil.com"), ("sec-fetch-site", "cross-site")]));
        for stranger in ["https://evil.com", "null", "http://localhost:9090", "https://localhost:8080"] {
            assert!(!ask("POST", &[("origin", stranger)]), "{stranger}");
        }
        assert!(!ask("POST", &[("origin", "http://localhost:8080"), ("origin", "http://localhost:8080")]));
        for site in ["cross-site", "same-site"] {
            assert!(!ask("DELETE", &[("sec-fetch-site", site)]), "{site}");
        }
        assert!(!ask("POST", &[("host", "evil.com")]), "two hosts are no host");
    }
}
