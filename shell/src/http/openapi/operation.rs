//! One operation of the document: what its row in the table of routes cannot know.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::field::Field;

/// Stands among the codes of a status whose answers may be `{"detail": ..}`.
pub const DETAIL: &str = "detail";

/// What an answer holds.
#[derive(Clone)]
pub enum Body {
    /// JSON of this schema.
    Json(Box<RefOr<Schema>>),
    /// Text of this type.
    Text(&'static str),
    /// Server-sent events.
    Events,
    /// No answer: another protocol follows.
    Upgrade,
}

/// What may follow: an operation that takes something of this one's answer.
#[derive(Clone)]
pub struct Next {
    /// The operation, as its method and path.
    pub to: (Method, &'static str),
    /// The field it wants, in the query or in the body.
    pub field: &'static str,
    /// Where its value stands.
    pub from: &'static str,
}

/// An operation.
#[derive(Clone)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: &'static str,
    /// Under which heading it stands.
    pub group: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// More about it.
    pub about: &'static str,
    /// The parameters of its path.
    pub parameters: Vec<Field>,
    /// Its query.
    pub query: Vec<Field>,
    /// Headers it looks at.
    pub headers: Vec<Field>,
    /// Its body; none: it takes no notice of one.
    pub body: Option<Vec<Field>>,
    /// Its body, where that is more than fields.
    pub json_body: Option<RefOr<Schema>>,
    /// Its answers, by status.
    pub answers: BTreeMap<u16, Body>,
    /// Codes of errors, by status.
    pub problems: BTreeMap<u16, BTreeSet<&'static str>>,
    /// What may follow.
    pub next: Vec<Next>,
    /// Schemas that the answers refer to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

impl Operation {
    fn new(method: Method, path: &'static str, group: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            group,
            summary,
            about: "",
            parameters: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            json_body: None,
            answers: BTreeMap::new(),
            problems: BTreeMap::new(),
            next: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(path: &'static str, group: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, path, group, summary)
    }

    /// A POST.
    pub fn post(path: &'static str, group: &'static str, summary: &'static str) -> Self {
        Self::new(Method::POST, path, group, summary)
    }

    /// A DELETE.
    pub fn delete(path: &'static str, group: &'static str, summary: &'static str) -> Self {
        Self::new(Method::DELETE, path, group, summary)
    }

    /// More about it.
    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// A path with these parameters.
    pub fn in_path<const N: usize>(mut self, fields: [Field; N]) -> Self {
        self.parameters = fields.map(Field::must).to_vec();
        self
    }

    /// A query of these fields, each at most once.
    pub fn query<const N: usize>(mut self, fields: [Field; N]) -> Self {
        self.query = fields.to_vec();
        self.fails(400, &["bad_params"])
    }

    /// A header it looks at.
    pub fn header(mut self, field: Field) -> Self {
        self.headers.push(field);
        self
    }

    /// A body of these fields, JSON or form.
    pub fn takes<const N: usize>(mut self, fields: [Field; N]) -> Self {
        self.body = Some(fields.to_vec());
        self.fails(400, &["bad_json", "bad_params"])
    }

    /// A body of JSON.
    pub fn takes_json(mut self, schema: RefOr<Schema>) -> Self {
        self.json_body = Some(schema);
        self.fails(400, &["bad_json"])
    }

    /// Answers `status` with a `T`.
    pub fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        let name = T::name().into_owned();
        T::schemas(&mut self.schemas);
        self.schemas.push((name.clone(), T::schema()));
        let schema = RefOr::Ref(utoipa::openapi::Ref::from_schema_name(name));
        self.answers.insert(status, Body::Json(Box::new(schema)));
        self
    }

    /// Answers 200 with a `T`.
    pub fn ok<T: ToSchema>(self) -> Self {
        self.answers::<T>(200)
    }

    /// Answers 200 with JSON of this schema.
    pub fn ok_json(mut self, schema: impl Into<RefOr<Schema>>) -> Self {
        self.answers.insert(200, Body::Json(Box::new(schema.into())));
        self
    }

    /// Answers 200 with text of this type.
    pub fn serves(mut self, content_type: &'static str) -> Self {
        self.answers.insert(200, Body::Text(content_type));
        self
    }

    /// Answers 200 with events that do not end.
    pub fn streams(mut self) -> Self {
        self.answers.insert(200, Body::Events);
        self
    }

    /// Answers 101, and goes on in another protocol.
    pub fn upgrades(mut self) -> Self {
        self.answers.insert(101, Body::Upgrade);
        self.fails(426, &["upgrade_required"])
    }

    /// May answer `status` with one of these codes.
    pub fn fails(mut self, status: u16, codes: &[&'static str]) -> Self {
        self.problems.entry(status).or_default().extend(codes);
        self
    }

    /// May answer these with `{"detail": ..}`.
    pub fn refuses(self, statuses: &[u16]) -> Self {
        statuses.iter().fold(self, |op, status| op.fails(*status, &[DETAIL]))
    }

    /// Asks the gate.
    pub fn asks_gate(self) -> Self {
        self.fails(503, &["execution_unavailable"])
    }

    /// Needs the store of users and keys.
    pub fn asks_auth(self) -> Self {
        self.fails(404, &["auth_disabled"]).fails(503, &["busy", "store_failed"])
    }

    /// May be followed by `to`, which takes `from` as its `field`.
    pub fn then(
        mut self,
        method: Method,
        path: &'static str,
        field: &'static str,
        from: &'static str,
    ) -> Self {
        self.next.push(Next { to: (method, path), field, from });
        self
    }
}
