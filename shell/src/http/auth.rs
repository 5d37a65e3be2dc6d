//! Login, tokens, users, roles and keys over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{Request, Response, StatusCode, Uri};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::body::Fields;
use super::json::{self, Done};
use super::problem::Problem;
use crate::auth::permission::{Permission, Permissions, Role};
use crate::auth::{Auth, KeyInfo, KeyView, Principal, TICKET_LIVES, UserView};

/// A longer name or password belongs to nobody, bytes.
const MAX_CREDENTIAL_BYTES: usize = 256;
/// A request names every permission at most once.
const MAX_PERMISSIONS: usize = Permission::ALL.len();

type Answer = Result<Response<Body>, Problem>;

const DONE: Done = Done { ok: true };

fn auth(app: &App) -> Result<&Arc<Auth>, Problem> {
    app.auth.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "auth_disabled",
            "authentication is off: start with `--set auth.enabled=true`",
        )
    })
}

/// A field that must be there and is no longer than any of ours.
fn credential<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, Problem> {
    let text = fields.required_text(name)?;
    if text.len() <= MAX_CREDENTIAL_BYTES {
        return Ok(text);
    }
    let message = format!("{name} must have at most {MAX_CREDENTIAL_BYTES} bytes");
    Err(Problem::field("bad_params", name, message))
}

fn role(fields: &Fields) -> Result<Role, Problem> {
    let words = Role::ALL.map(|role| (role.name(), role));
    fields.choice("role", &words)?.ok_or_else(|| Problem::field("bad_params", "role", "role is required"))
}

/// POST /api/auth/login
pub async fn login(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let fields = Fields::read(request).await?;
    let user_id = credential(&fields, "user_id")?.to_owned();
    let password = SecretString::from(credential(&fields, "password")?);
    Ok(json::ok(&auth(&app)?.login(user_id, password).await?))
}

/// POST /api/auth/refresh
pub async fn refresh(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let fields = Fields::read(request).await?;
    let token = fields.required_text("refresh_token")?.to_owned();
    Ok(json::ok(&auth(&app)?.blocking(move |auth| auth.refresh(&token)).await?))
}

/// POST /api/auth/logout
pub async fn logout(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let fields = Fields::read(request).await?;
    let token = fields.required_text("refresh_token")?.to_owned();
    auth(&app)?.blocking(move |auth| auth.logout(&token)).await?;
    Ok(json::ok(&DONE))
}

/// POST /api/auth/password
pub async fn password(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    request: Request<Body>,
) -> Answer {
    let fields = Fields::read(request).await?;
    let current = SecretString::from(credential(&fields, "password")?);
    let new = SecretString::from(fields.required_text("new_password")?);
    if principal.key_id.is_some() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "log in to change your password"));
    }
    auth(&app)?.set_password(principal.user_id.to_string(), current, new).await?;
    Ok(json::ok(&DONE))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Ticket {
    ticket: String,
    expires_in: u64,
}

/// POST /api/stream/ticket
pub async fn ticket(State(app): State<Arc<App>>, Extension(principal): Extension<Principal>) -> Answer {
    let ticket = auth(&app)?.ticket(&principal)?;
    Ok(json::ok(&Ticket { ticket, expires_in: TICKET_LIVES.as_secs() }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Keys {
    keys: Vec<KeyView>,
}

/// GET /api/auth/keys
pub async fn keys(State(app): State<Arc<App>>) -> Answer {
    Ok(json::ok(&Keys { keys: auth(&app)?.api_keys() }))
}

/// The permissions asked for; what a viewer has unless the request says otherwise.
fn asked_for(fields: &Fields, principal: &Principal) -> Result<Permissions, Problem> {
    let Some(names) = fields.texts("permissions", MAX_PERMISSIONS)? else {
        return Ok(Role::Viewer.permissions().and(principal.permissions));
    };
    let known = |name: &String| {
        Permission::from_name(name).ok_or_else(|| {
            let message = format!("there is no permission `{name}`: see docs/auth.md");
            Problem::field("bad_params", "permissions", message)
        })
    };
    let list = names.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    if list.is_empty() {
        return Err(Problem::field("bad_params", "permissions", "permissions must name at least one"));
    }
    Ok(Permissions::of(&list))
}

/// POST /api/auth/keys
pub async fn create_key(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    request: Request<Body>,
) -> Answer {
    let fields = Fields::read(request).await?;
    let name = fields.required_text("name")?.to_owned();
    let permissions = asked_for(&fields, &principal)?;
    let made = auth(&app)?.blocking(move |auth| auth.create_key(&principal, &name, permissions)).await?;
    Ok(json::response(StatusCode::CREATED, &made))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    ok: bool,
    key_id: String,
}

/// DELETE /api/auth/keys?key_id=
pub async fn revoke_key(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let key_id = Fields::from_query(uri.query())?.required_text("key_id")?.to_owned();
    let revoked = key_id.clone();
    auth(&app)?.blocking(move |auth| auth.revoke_key(&revoked)).await?;
    Ok(json::ok(&Revoked { ok: true, key_id }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Users {
    users: Vec<UserView>,
    available_roles: [&'static str; 3],
}

/// GET /api/auth/roles[?user_id=]
pub async fn roles(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let fields = Fields::from_query(uri.query())?;
    let users = auth(&app)?.users(fields.text("user_id")?)?;
    Ok(json::ok(&Users { users, available_roles: Role::ALL.map(Role::name) }))
}

/// POST /api/auth/roles
pub async fn grant(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    request: Request<Body>,
) -> Answer {
    let fields = Fields::read(request).await?;
    let (user_id, role) = (fields.required_text("user_id")?.to_owned(), role(&fields)?);
    let user = auth(&app)?.blocking(move |auth| auth.grant(&principal, &user_id, role)).await?;
    Ok(json::ok(&user))
}

/// DELETE /api/auth/roles?user_id=&role=
pub async fn revoke_role(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let fields = Fields::from_query(uri.query())?;
    let (user_id, role) = (fields.required_text("user_id")?.to_owned(), role(&fields)?);
    Ok(json::ok(&auth(&app)?.blocking(move |auth| auth.revoke_role(&user_id, role)).await?))
}

/// POST /api/auth/users
pub async fn create_user(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    request: Request<Body>,
) -> Answer {
    let fields = Fields::read(request).await?;
    let user_id = fields.required_text("user_id")?.to_owned();
    let password = SecretString::from(fields.required_text("password")?);
    let account = fields.number("account")?.map(str::parse).transpose();
    let account =
        account.map_err(|_| Problem::field("bad_params", "account", "account must be 0 to 65535"))?;
    let role = role(&fields)?;
    let made = auth(&app)?.create_user(principal, user_id, password, role, account).await?;
    Ok(json::response(StatusCode::CREATED, &made))
}

/// DELETE /api/auth/users?user_id=
pub async fn remove_user(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let user_id = Fields::from_query(uri.query())?.required_text("user_id")?.to_owned();
    auth(&app)?.blocking(move |auth| auth.remove_user(&user_id)).await?;
    Ok(json::ok(&DONE))
}

#[derive(Serialize, ToSchema)]
pub(super) struct SigningKeys {
    keys: Vec<KeyInfo>,
}

/// GET /admin/signing_keys
pub async fn signing_keys(State(app): State<Arc<App>>) -> Answer {
    Ok(json::ok(&SigningKeys { keys: auth(&app)?.signing_keys() }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Rotated {
    kid: String,
}

/// POST /admin/signing_keys
pub async fn rotate_signing_key(State(app): State<Arc<App>>) -> Answer {
    let kid = auth(&app)?.blocking(Auth::rotate_signing_key).await?;
    Ok(json::response(StatusCode::CREATED, &Rotated { kid }))
}

/// DELETE /admin/signing_keys?kid=
pub async fn revoke_signing_key(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let kid = Fields::from_query(uri.query())?.required_text("kid")?.to_owned();
    auth(&app)?.blocking(move |auth| auth.revoke_signing_key(&kid)).await?;
    Ok(json::ok(&DONE))
}

/// GET /.well-known/jwks.json, /events/jwks
pub async fn jwks(State(app): State<Arc<App>>) -> Answer {
    Ok(json::ok(&auth(&app)?.jwks()))
}
