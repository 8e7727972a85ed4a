//! `completion/complete`: whose prompt or resource it is that is completed.

use super::{Federate, Routing};
use crate::fault::{Fault, Refusal};
use crate::federate::catalog::Owner;
use crate::federate::kind::Kind;
use crate::federate::target::{Hop, Local, Target};
use crate::rpc::members::member;
use crate::rpc::scan::{Form, Value};
use std::borrow::Cow;

impl Routing<'_> {
    /// To the owner of what is completed: `ref` names a prompt, or a resource or template.
    pub(super) fn completion(&self) -> Result<Target, Refusal> {
        let refuse = |text: &'static str| Refusal::new(Fault::InvalidParams, Federate::NAME).saying(text);
        let reference = self.message.params.as_ref().and_then(|params| params.reference);
        let reference = reference.filter(|value| value.form == Form::Object);
        let reference = reference.ok_or_else(|| refuse("params.ref is required and must be an object"))?;
        let object = reference.span.of(self.body);
        let text = |name: &str| {
            let value = member(object, name).filter(Value::is_string)?;
            let value = Value { span: value.span.within(reference.span), ..value };
            Some((value, value.text(self.body)?))
        };
        let (value, key, owner) = match text("type").as_ref().map(|(_, sort)| &**sort) {
            Some("ref/prompt") => {
                let (value, name) = text("name").ok_or_else(|| refuse("params.ref.name is required"))?;
                let owner = self.catalog.prompt(&name).ok_or_else(|| self.unknown(Kind::Prompts, &name))?;
                (value, name, own(owner))
            }
            Some("ref/resource") => {
                let (value, uri) = text("uri").ok_or_else(|| refuse("params.ref.uri is required"))?;
                let owner = match self.catalog.template(&uri) {
                    Some(owner) => own(owner),
                    None => own(self.resource_owner(&uri)?),
                };
                (value, uri, owner)
            }
            _ => return Err(refuse("params.ref.type must be ref/prompt or ref/resource")),
        };
        if !self.catalog.completes(owner.member) {
            return Ok(Target::Here(Local::NoCompletion));
        }
        let Target::Member(hop) = self.hop(value, &key, &owner) else { return Ok(Target::Here(Local::NoCompletion)) };
        // What is completed is named in the body alone.
        Ok(Target::Member(Hop { name: None, ..hop }))
    }
}

fn own(owner: Owner<'_>) -> Owner<'static> {
    Owner { member: owner.member, original: Cow::Owned(owner.original.into_owned()), sent: None }
}
