//! A part of a condition as it would be written, for people who ask why.

use super::functions::{Constant, IN_NETWORK, MATCHES};
use super::operators::{self, CONDITIONAL, EQUALS, INDEX, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NEGATE};
use cel::Value;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

/// The most characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 80;

/// An expression as it would be written.
pub fn expression(expression: &IdedExpr, constants: &[Constant]) -> String {
    let mut text = String::new();
    Writer { constants, text: &mut text }.write(expression);
    text
}

/// A value as it would be written, cut where it is long. Lists and objects are only named, for they may hold anything.
pub fn value(value: &Value) -> String {
    let text = match value {
        Value::List(list) => format!("[{} elements]", list.len()),
        Value::Map(map) => format!("{{{} members}}", map.map.len()),
        Value::Int(int) => int.to_string(),
        Value::UInt(uint) => format!("{uint}u"),
        Value::Float(float) => format!("{float:?}"),
        Value::String(text) => format!("{:?}", text.chars().take(VALUE_CHARS_MAX).collect::<String>()),
        Value::Bool(bool) => bool.to_string(),
        Value::Bytes(bytes) => format!("b[{} bytes]", bytes.len()),
        Value::Null => "null".to_owned(),
        _ => "?".to_owned(),
    };
    if text.chars().count() > VALUE_CHARS_MAX {
        return text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect();
    }
    text
}

struct Writer<'w> {
    constants: &'w [Constant],
    text: &'w mut String,
}

impl Writer<'_> {
    fn write(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => match name.strip_prefix("@c").and_then(|number| number.parse::<usize>().ok()) {
                Some(number) => self.constant(number),
                None => self.text.push_str(name),
            },
            Expr::Literal(literal) => self.literal(literal),
            Expr::Select(select) => {
                let (before, behind) = if select.test { ("has(", ")") } else { ("", "") };
                self.text.push_str(before);
                self.side(&select.operand);
                self.text.push('.');
                self.text.push_str(&select.field);
                self.text.push_str(behind);
            }
            Expr::List(list) => self.all("[", &list.elements, "]"),
            Expr::Map(map) => {
                self.text.push('{');
                for (number, entry) in map.entries.iter().enumerate() {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.text.push_str(if number > 0 { ", " } else { "" });
                        self.write(&entry.key);
                        self.text.push_str(": ");
                        self.write(&entry.value);
                    }
                }
                self.text.push('}');
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) | Expr::Unspecified => {}
        }
    }

    fn all(&mut self, before: &str, parts: &[IdedExpr], behind: &str) {
        self.text.push_str(before);
        for (number, part) in parts.iter().enumerate() {
            self.text.push_str(if number > 0 { ", " } else { "" });
            self.write(part);
        }
        self.text.push_str(behind);
    }

    /// A part of an operator, in brackets where it has an operator itself.
    fn side(&mut self, node: &IdedExpr) {
        let bare = match &node.expr {
            Expr::Call(call) => !operators::is_operator(&call.func_name) || call.func_name == INDEX,
            Expr::Literal(LiteralValue::Int(int)) => *int.inner() >= 0,
            Expr::Literal(LiteralValue::Double(double)) => double.inner().is_sign_positive(),
            _ => true,
        };
        if !bare {
            self.text.push('(');
        }
        self.write(node);
        if !bare {
            self.text.push(')');
        }
    }

    fn call(&mut self, call: &CallExpr) {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (CONDITIONAL, [condition, yes, no]) => {
                self.side(condition);
                self.text.push_str(" ? ");
                self.side(yes);
                self.text.push_str(" : ");
                self.side(no);
            }
            (LOGICAL_NOT, [part]) => {
                self.text.push('!');
                self.side(part);
            }
            (NEGATE, [part]) => {
                self.text.push('-');
                self.side(part);
            }
            (INDEX, [of, key]) => {
                self.side(of);
                self.all("[", std::slice::from_ref(key), "]");
            }
            (MATCHES, [text, pattern]) => {
                self.side(text);
                self.all(".matches(", std::slice::from_ref(pattern), ")");
            }
            (IN_NETWORK, parts) => self.all("in_network(", parts, ")"),
            (name, [left, right]) if operators::between(name).is_some() => {
                self.side(left);
                self.text.push(' ');
                self.text.push_str(operators::between(name).unwrap_or_default());
                self.text.push(' ');
                self.side(right);
            }
            (name, parts) => {
                if let Some(target) = &call.target {
                    self.side(target);
                    self.text.push('.');
                }
                self.text.push_str(name);
                self.all("(", parts, ")");
            }
        }
    }

    /// What was written for a comprehension, told from what it was made into.
    fn comprehension(&mut self, it: &ComprehensionExpr) {
        let call = |node: &'_ IdedExpr| match &node.expr {
            Expr::Call(call) => Some(call.clone()),
            _ => None,
        };
        let step = call(&it.loop_step);
        let name = step.as_ref().map_or("", |step| step.func_name.as_str());
        let parts = step.as_ref().map(|step| step.args.as_slice()).unwrap_or_default();
        let counts = call(&it.result).is_some_and(|result| result.func_name == EQUALS);
        // `@result + [x]`: the `x`.
        let appended = |node: &IdedExpr| {
            let added = call(node)?.args.get(1)?.clone();
            match added.expr {
                Expr::List(list) => list.elements.into_iter().next(),
                _ => None,
            }
        };
        let is_element = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if *name == it.iter_var);
        let (macro_name, bodies) = match (name, parts) {
            (LOGICAL_AND, [_, body]) => ("all", vec![body.clone()]),
            (LOGICAL_OR, [_, body]) => ("exists", vec![body.clone()]),
            (CONDITIONAL, [body, _, _]) if counts => ("exists_one", vec![body.clone()]),
            (CONDITIONAL, [body, step, _]) => match appended(step) {
                Some(collected) if !is_element(&collected) => ("map", vec![body.clone(), collected]),
                _ => ("filter", vec![body.clone()]),
            },
            _ => ("map", appended(&it.loop_step).into_iter().collect()),
        };
        self.side(&it.iter_range);
        self.text.push('.');
        self.text.push_str(macro_name);
        self.text.push('(');
        self.text.push_str(&it.iter_var);
        self.text.push_str(", ");
        self.all("", &bodies, ")");
    }

    fn constant(&mut self, number: usize) {
        match self.constants.get(number) {
            Some(Constant::Pattern(pattern)) => self.text.push_str(&format!("{:?}", pattern.as_str())),
            Some(Constant::Network(network)) => self.text.push_str(&format!("\"{network}\"")),
            None => {}
        }
    }

    fn literal(&mut self, literal: &LiteralValue) {
        let text = match literal {
            LiteralValue::Boolean(bool) => bool.inner().to_string(),
            LiteralValue::Bytes(bytes) => format!("b\"{}\"", bytes.inner().escape_ascii()),
            LiteralValue::Double(double) => format!("{:?}", double.inner()),
            LiteralValue::Int(int) => int.inner().to_string(),
            LiteralValue::Null => "null".to_owned(),
            LiteralValue::String(text) => format!("{:?}", text.inner()),
            LiteralValue::UInt(uint) => format!("{}u", uint.inner()),
        };
        self.text.push_str(&text);
    }
}
