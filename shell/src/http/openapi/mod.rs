//! GET /openapi.json: the API as OpenAPI 3.1, made of the table of routes (who may), the table of operations (what they
//! take and answer) and the types that answers are serialised from.

mod field;
mod operation;
mod strategies;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::body::Body as HttpBody;
use axum::http::{Method, StatusCode};
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, AnyOfBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref,
    RefOr, Required, Response, ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};

use super::access::{Access, Bucket};
use super::json;
use super::problem::RefusedDetails;
use super::routes::{Row, rows};
use field::{Field, object};
use operation::{Body, DETAIL, Operation};
use table::operations;

const ABOUT: &str = "An order gate over HTTP. Fields of bodies that are not named here are ignored; a field that stands \
    twice is refused. Words are taken in any case. Errors are `{error, message, details}`; under \
    `/strategies` and `/queues` what the service refuses is `{detail}`. While authentication is off, nobody needs credentials, only loopback hosts are served, and `/api/auth/*` answers 404. Every answer carries \
    `X-Request-Id`, and with authentication on `X-RateLimit-Limit`, `-Remaining` and `-Reset`.";

/// Where the credentials of a request may stand.
const SCHEMES: [&str; 2] = ["bearer", "api_key"];

/// The document as text, made when somebody first asks for it.
pub fn document() -> &'static str {
    // By way of a value: its keys are sorted, so that the same API is the same text.
    static TEXT: LazyLock<String> =
        LazyLock::new(|| serde_json::to_value(build()).unwrap_or_default().to_string());
    &TEXT
}

/// The statuses that the document has for the route of a path; none: it is no route.
#[must_use]
pub fn statuses(method: &str, path: &str) -> Option<BTreeSet<u16>> {
    static ALL: LazyLock<BTreeMap<(String, &'static str), BTreeSet<u16>>> = LazyLock::new(|| {
        let told = |(row, operation): (Row, Operation)| {
            let mut all: BTreeSet<u16> = problems(&row, &operation).into_keys().collect();
            all.extend(operation.answers.keys());
            ((row.method.to_string(), row.path), all)
        };
        paired().into_iter().map(told).collect()
    });
    let fits = |route: &str| {
        let (wanted, found) = (route.split('/'), path.split('/'));
        wanted.clone().count() == found.clone().count()
            && wanted.zip(found).all(|(wanted, found)| wanted == found || wanted.starts_with('{'))
    };
    // A path of its own goes before one with parameters, as in the router.
    let mut routes = ALL.keys().map(|(_, route)| *route);
    let route = routes.clone().find(|route| *route == path).or_else(|| routes.find(|route| fits(route)))?;
    ALL.get(&(method.to_owned(), route)).cloned()
}

/// GET /openapi.json
pub async fn serve() -> axum::http::Response<HttpBody> {
    json::raw(StatusCode::OK, document().into())
}

/// Every route with what is told of it.
fn paired() -> Vec<(Row, Operation)> {
    let mut told: BTreeMap<_, _> =
        operations().into_iter().map(|o| ((o.method.to_string(), o.path), o)).collect();
    let find = |row: Row| {
        let operation = told.remove(&(row.method.to_string(), row.path))?;
        Some((row, operation))
    };
    rows().into_iter().filter_map(find).collect()
}

/// Codes of errors by status: the operation's own, and those that every route has for what it is.
fn problems(row: &Row, operation: &Operation) -> BTreeMap<u16, BTreeSet<&'static str>> {
    let mut all = operation.problems.clone();
    let mut add = |status: u16, codes: &[&'static str]| all.entry(status).or_default().extend(codes);
    add(400, &["bad_request"]);
    add(403, &["forbidden"]);
    add(408, &["timeout"]);
    add(429, &["rate_limited"]);
    if row.access != Access::Public {
        add(401, &["unauthorized"]);
    }
    if matches!(row.access, Access::Stream(_)) {
        add(400, &["bad_params"]);
    }
    if row.method != Method::GET {
        add(400, &["bad_json"]);
        add(413, &["too_large"]);
        add(415, &["unsupported_encoding"]);
        add(503, &["audit_unavailable"]);
    }
    all
}

const fn meaning(status: u16) -> &'static str {
    match status {
        400 => "What was sent cannot be read; `details.field` names the field.",
        401 => "Credentials are needed, or others.",
        403 => "Not allowed: `details.permissions` names what lacks; or a foreign Host or Origin.",
        404 => "There is no such thing.",
        408 => "It took too long.",
        409 => "It does not fit what is.",
        413 => "The body is too large.",
        415 => "The body is packed.",
        422 => "Understood, and refused.",
        426 => "Only a WebSocket is spoken here.",
        429 => "Too often: `Retry-After` says when to come back.",
        503 => "Not now: `Retry-After` says when to come back; nothing was done unless the message says so.",
        101 => "From here on the connection is a WebSocket.",
        201 => "Made.",
        202 => "Taken: it will be done.",
        _ => "Done.",
    }
}

/// Under which name the answer with one of these codes is shared.
fn shared_name(status: u16, codes: &BTreeSet<&'static str>) -> String {
    let codes: Vec<&str> = codes.iter().copied().collect();
    format!("{status}.{}", codes.join("."))
}

/// An error with one of these codes.
fn problem(status: u16, codes: &BTreeSet<&'static str>) -> Response {
    let detail = codes.contains(DETAIL);
    let codes: BTreeSet<_> = codes.iter().copied().filter(|code| *code != DETAIL).collect();
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.clone()));
    let mut narrow = ObjectBuilder::new().property("error", code);
    if status == 422 && codes.contains("risk_rejected") {
        narrow = narrow.property("details", Ref::from_schema_name(RefusedDetails::name()));
    }
    let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(narrow);
    let refusal = || RefOr::Ref(Ref::from_schema_name("Refusal"));
    let schema: RefOr<Schema> = match (detail, codes.is_empty()) {
        (false, _) => schema.into(),
        (true, true) => refusal(),
        (true, false) => AnyOfBuilder::new().item(schema).item(refusal()).into(),
    };
    let list = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
    let response = ResponseBuilder::new()
        .description(format!("{} {list}", meaning(status)).trim_end())
        .content("application/json", ContentBuilder::new().schema(Some(schema)).build());
    let response = match status {
        401 => response.header("WWW-Authenticate", text_header("Bearer")),
        429 | 503 => response.header("Retry-After", text_header("Whole seconds.")),
        _ => response,
    };
    response.build()
}

fn content(body: &Body) -> Option<(&'static str, RefOr<Schema>)> {
    match body {
        Body::Json(schema) => Some(("application/json", (**schema).clone())),
        Body::Events => Some(("text/event-stream", event())),
        Body::Text(content_type) => {
            Some((content_type, ObjectBuilder::new().schema_type(Type::String).into()))
        }
        Body::Upgrade => None,
    }
}

/// What stands in one event; its `data` is JSON that repeats the event's name as `type`.
fn event() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Of each event; docs/http.md lists them."))
        .property("id", text())
        .property("event", text())
        .property("data", text())
        .into()
}

fn text_header(about: &str) -> utoipa::openapi::Header {
    let text = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(text)).description(Some(about)).build()
}

/// `post_api_order`, say.
fn name_of(method: &Method, path: &str) -> String {
    let words: Vec<&str> =
        path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let path = if words.is_empty() { "index".to_owned() } else { words.join("_") };
    format!("{}_{path}", method.as_str().to_ascii_lowercase())
}

/// What may follow an answer, each under the name of its operation.
fn followed(response: ResponseBuilder, operation: &Operation) -> ResponseBuilder {
    operation.next.iter().fold(response, |response, next| {
        let (method, path) = &next.to;
        let name = name_of(method, path);
        let link = LinkBuilder::new().operation_id(name.clone());
        let link = if *method == Method::POST {
            link.request_body(Some(serde_json::json!({ next.field: next.from })))
        } else {
            link.parameter(next.field, next.from)
        };
        response.link(name, RefOr::T(link.build()))
    })
}

/// Any one of these will do.
fn security(access: Access) -> Vec<SecurityRequirement> {
    let with = |scheme: &str, names: &[&str]| SecurityRequirement::new(scheme, names.iter().copied());
    match access {
        Access::Public | Access::Metrics => Vec::new(),
        Access::SignedIn => vec![with("bearer", &[])],
        Access::AnyOf(wanted) | Access::Stream(wanted) => {
            let mut any: Vec<_> = wanted
                .names()
                .into_iter()
                .flat_map(|permission| SCHEMES.map(|scheme| with(scheme, &[permission])))
                .collect();
            if matches!(access, Access::Stream(_)) {
                any.push(with("ticket", &[]));
            }
            any
        }
    }
}

/// What a route needs, in words.
fn needs(row: &Row) -> String {
    let quoted =
        |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    let needs = match row.access {
        Access::Public | Access::Metrics => String::new(),
        Access::SignedIn => "Needs a login.".to_owned(),
        Access::AnyOf(wanted) | Access::Stream(wanted) => format!("Needs {}.", quoted(wanted.names())),
    };
    let counted = match row.bucket {
        Bucket::Requests => "",
        Bucket::Cancels => " Counted in the bucket of cancels.",
        Bucket::Logins => " Counted in the bucket of logins.",
    };
    needs + counted
}

fn told(row: &Row, operation: &Operation) -> OperationBuilder {
    let about = format!("{} {}", operation.about, needs(row)).trim().to_owned();
    let mut told = OperationBuilder::new()
        .operation_id(Some(name_of(&row.method, row.path)))
        .tag(operation.group)
        .summary(Some(operation.summary))
        .description((!about.is_empty()).then_some(about));
    for field in &operation.parameters {
        told = told.parameter(field.parameter(ParameterIn::Path));
    }
    for field in &operation.query {
        told = told.parameter(field.parameter(ParameterIn::Query));
    }
    for field in &operation.headers {
        told = told.parameter(field.parameter(ParameterIn::Header));
    }
    if let Some(fields) = &operation.body {
        let required = if fields.iter().any(Field::is_required) { Required::True } else { Required::False };
        let body = [("application/json", true), ("application/x-www-form-urlencoded", false)]
            .into_iter()
            .fold(RequestBodyBuilder::new().required(Some(required)), |body, (content_type, json)| {
                body.content(content_type, ContentBuilder::new().schema(Some(object(fields, json))).build())
            });
        told = told.request_body(Some(body.build()));
    }
    if let Some(schema) = &operation.json_body {
        let content = ContentBuilder::new().schema(Some(schema.clone())).build();
        let body = RequestBodyBuilder::new().required(Some(Required::True));
        told = told.request_body(Some(body.content("application/json", content).build()));
    }
    for (status, body) in &operation.answers {
        let response = ResponseBuilder::new().description(meaning(*status));
        let response = match content(body) {
            Some((content_type, schema)) => {
                response.content(content_type, ContentBuilder::new().schema(Some(schema)).build())
            }
            None => response,
        };
        let response = if *status < 300 { followed(response, operation) } else { response };
        told = told.response(status.to_string(), response.build());
    }
    for (status, codes) in problems(row, operation) {
        told = told.response(status.to_string(), Ref::from_response_name(shared_name(status, &codes)));
    }
    security(row.access).into_iter().fold(told, OperationBuilder::security)
}

fn build() -> OpenApi {
    let pairs = paired();
    let mut components = ComponentsBuilder::new()
        .schema("Problem", problem_schema())
        .schema("Refusal", refusal_schema())
        .schema(RefusedDetails::name(), RefusedDetails::schema())
        .security_scheme("bearer", {
            let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
            SecurityScheme::Http(http.description(Some("The access token of POST /api/auth/login.")).build())
        })
        .security_scheme("api_key", {
            let about = "`rk_<id>.<secret>`, made by POST /api/auth/keys.";
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("X-API-Key", about)))
        })
        .security_scheme("ticket", {
            let about = "Of POST /api/stream/ticket; once, within 30 s.";
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description("ticket", about)))
        });
    let mut nested = Vec::new();
    RefusedDetails::schemas(&mut nested);
    let schemas = pairs.iter().flat_map(|(_, operation)| operation.schemas.clone()).chain(nested);
    components = components.schemas_from_iter(schemas);
    for (row, operation) in &pairs {
        for (status, codes) in problems(row, operation) {
            components = components.response(shared_name(status, &codes), problem(status, &codes));
        }
    }
    let paths = pairs.iter().fold(PathsBuilder::new(), |paths, (row, operation)| {
        let method = match row.method {
            Method::POST => HttpMethod::Post,
            Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths.path(row.path, PathItem::new(method, told(row, operation)))
    });
    let info = InfoBuilder::new()
        .title("Ringfence")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

fn refusal_schema() -> RefOr<Schema> {
    let about = "A text, or an object, or a list of `{type, loc, msg, input}`.";
    let detail = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("detail", detail.description(Some(about)))
        .required("detail")
        .into()
}

fn problem_schema() -> RefOr<Schema> {
    let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
    let details = ObjectBuilder::new().schema_type(Type::Object).description(Some("More, for programs."));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("error", text("A stable code."))
        .property("message", text("For people: what is wrong, and what to do."))
        .property("details", details)
        .required("error")
        .required("message")
        .required("details")
        .into()
}
