//! Fields of requests as JSON Schema: what the readers of [`Fields`](super::super::body::Fields) take.

use serde_json::json;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{RefOr, Required};

/// How a field is written where there are types: in a JSON body.
#[derive(Clone)]
enum Kind {
    Any,
    Text,
    Number,
    Flag,
    List(Vec<&'static str>),
    Texts(usize),
    Words(Vec<&'static str>),
}

/// One field of a query or body.
#[derive(Clone)]
pub struct Field {
    name: &'static str,
    about: &'static str,
    kind: Kind,
    required: bool,
    pattern: Option<&'static str>,
    example: Option<&'static str>,
}

const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, about, kind, required: false, pattern: None, example: None }
}

/// Any text.
pub const fn any(name: &'static str, about: &'static str) -> Field {
    field(name, Kind::Any, about)
}

/// Text, not empty.
pub const fn text(name: &'static str, about: &'static str) -> Field {
    field(name, Kind::Text, about)
}

/// A number: a JSON number, or its text.
pub const fn number(name: &'static str, about: &'static str) -> Field {
    field(name, Kind::Number, about)
}

/// True or false.
pub const fn flag(name: &'static str, about: &'static str) -> Field {
    field(name, Kind::Flag, about)
}

/// Some of these words; text with commas in a form.
pub fn list(name: &'static str, words: &[&'static str], about: &'static str) -> Field {
    field(name, Kind::List(words.to_vec()), about)
}

/// At most so many texts; text with commas in a form.
pub const fn texts(name: &'static str, most: usize, about: &'static str) -> Field {
    field(name, Kind::Texts(most), about)
}

/// One of these words, in any case.
pub fn words<T>(name: &'static str, words: &[(&'static str, T)], about: &'static str) -> Field {
    field(name, Kind::Words(words.iter().map(|(word, _)| *word).collect()), about)
}

impl Field {
    /// It must be there.
    pub const fn must(mut self) -> Self {
        self.required = true;
        self
    }

    /// Whether it must be there.
    pub const fn is_required(&self) -> bool {
        self.required
    }

    /// What its text must look like.
    pub const fn like(mut self, pattern: &'static str) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// What it may look like.
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    /// As a value of JSON, or as text where everything is. Null in JSON is as if it were not there.
    fn schema(&self, json: bool) -> Schema {
        let types = |types: &[Type]| {
            let null = (json && !self.required).then_some(Type::Null);
            types.iter().cloned().chain(null).collect::<SchemaType>()
        };
        let object = ObjectBuilder::new().description(Some(self.about)).pattern(self.pattern);
        let object = object.examples(self.example.map(|example| json!(example)));
        let one_of = |object: ObjectBuilder, words: &[&str]| {
            let null = (json && !self.required).then_some(serde_json::Value::Null);
            let words = words.iter().map(|word| json!(word)).chain(null);
            object.schema_type(types(&[Type::String])).enum_values(Some(words.collect::<Vec<_>>()))
        };
        match &self.kind {
            Kind::List(words) if json => {
                let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.clone()));
                let array = ArrayBuilder::new().schema_type(types(&[Type::Array])).items(word);
                array.min_items(Some(1)).max_items(Some(words.len())).description(Some(self.about)).into()
            }
            Kind::Texts(most) if json => {
                let text = ObjectBuilder::new().schema_type(Type::String);
                let array = ArrayBuilder::new().schema_type(types(&[Type::Array])).items(text);
                array.max_items(Some(*most)).description(Some(self.about)).into()
            }
            Kind::Number if json => object.schema_type(types(&[Type::Number, Type::String])).into(),
            Kind::Flag if json => object.schema_type(types(&[Type::Boolean])).into(),
            Kind::Flag => one_of(object, &["true", "false"]).into(),
            Kind::Words(words) => one_of(object, words).into(),
            Kind::Any | Kind::Texts(_) => object.schema_type(types(&[Type::String])).into(),
            Kind::Text | Kind::Number | Kind::List(_) => {
                object.schema_type(types(&[Type::String])).min_length(Some(1)).into()
            }
        }
    }

    /// As a parameter.
    pub fn parameter(&self, place: ParameterIn) -> ParameterBuilder {
        let required = if self.required { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new().name(self.name).parameter_in(place).required(required);
        parameter.description(Some(self.about)).schema(Some(self.schema(false)))
    }
}

/// An object of `fields`: JSON, or a form.
pub fn object(fields: &[Field], json: bool) -> RefOr<Schema> {
    let all = fields.iter().fold(ObjectBuilder::new().schema_type(Type::Object), |object, field| {
        let object = object.property(field.name, field.schema(json));
        if field.required { object.required(field.name) } else { object }
    });
    all.into()
}
