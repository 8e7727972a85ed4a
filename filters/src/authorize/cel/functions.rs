//! What conditions can call beyond CEL's own functions, and the environment that knows it.
//!
//! A regular expression or a network is text in a condition. It is compiled once, when the condition is, and stands in the
//! program as a variable that no condition can name.

use cel::common::types::{CelBool, CelString, DYN_TYPE, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError};
use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use std::any::Any;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

/// The most that a compiled regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 64 << 10;
/// The most that searching with it may keep, in bytes: with less, long texts take longer.
const SEARCH_BYTES_MAX: usize = 256 << 10;
/// The longest regular expression, in bytes.
const PATTERN_BYTES_MAX: usize = 512;

/// What `matches` becomes in a program.
pub const MATCHES: &str = "@matches";
/// What `in_network` becomes in a program.
pub const IN_NETWORK: &str = "@in_network";

/// CEL's own functions that conditions may call, and with how many arguments (the one before the dot counted).
pub const OFFERED: [(&str, usize); 13] = [
    ("size", 1),
    ("contains", 2),
    ("startsWith", 2),
    ("endsWith", 2),
    ("matches", 2),
    ("in_network", 2),
    ("int", 1),
    ("uint", 1),
    ("double", 1),
    ("string", 1),
    ("bool", 1),
    ("bytes", 1),
    ("type", 1),
];

/// The types that conditions may name, as in `type(args.amount) == int`.
pub const TYPES: [&str; 10] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// The environment of all conditions.
pub static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    for (name, function) in [(MATCHES, matches as cel::common::functions::Function), (IN_NETWORK, in_network)] {
        let declared = env.add_overload(name, name, vec![STRING_TYPE, DYN_TYPE], function);
        debug_assert!(declared.is_ok(), "{name} is declared twice");
    }
    Arc::new(env)
});

/// What was compiled from a constant text of a condition.
#[derive(Clone, Debug)]
pub enum Constant {
    /// A regular expression.
    Pattern(Regex),
    /// A range of addresses.
    Network(IpNet),
}

impl Constant {
    /// The regular expression of this text.
    pub fn pattern(text: &str) -> Result<Constant, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a regular expression is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let compiled =
            RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).dfa_size_limit(SEARCH_BYTES_MAX).nest_limit(24).build();
        compiled.map(Constant::Pattern).map_err(|fault| match fault {
            regex::Error::CompiledTooBig(_) => "this regular expression is too large once compiled".to_owned(),
            // Its last line says what is wrong; those before it draw where.
            fault => format!("no regular expression: {}", fault.to_string().lines().last().unwrap_or_default().trim()),
        })
    }

    /// The network of this text: an address with a prefix length, or an address alone.
    pub fn network(text: &str) -> Result<Constant, String> {
        let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network = text.parse::<IpNet>().ok().or_else(alone);
        network.map(Constant::Network).ok_or_else(|| format!("`{text}` is no network such as 10.0.0.0/8"))
    }
}

static CONSTANT: Type = Type::new_unspecified_type("lockgate.constant");

impl Val for Constant {
    fn get_type(&self) -> &Type {
        &CONSTANT
    }

    fn cel_type() -> &'static Type {
        &CONSTANT
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Constant {}

fn text_and_constant<'a>(args: &'a [CowVal<'_, '_>]) -> Option<(&'a str, &'a Constant)> {
    let [text, constant] = args else { return None };
    Some((text.downcast_ref::<CelString>()?.inner(), constant.downcast_ref::<Constant>()?))
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    match text_and_constant(&args) {
        Some((text, Constant::Pattern(pattern))) => Ok(CowVal::owned(CelBool::from(pattern.is_match(text)))),
        _ => Err(ExecutionError::function_error("matches", "not a text")),
    }
}

fn in_network<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    match text_and_constant(&args) {
        Some((text, Constant::Network(network))) => {
            let address: IpAddr =
                text.parse().map_err(|_| ExecutionError::function_error("in_network", "no address"))?;
            // An IPv4 address that came in through a socket of both families.
            Ok(CowVal::owned(CelBool::from(network.contains(&address.to_canonical()))))
        }
        _ => Err(ExecutionError::function_error("in_network", "not a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_patterns_are_refused_when_they_are_compiled() {
        assert!(Constant::pattern("^[a-z]{1,64}$").is_ok());
        assert!(Constant::pattern(r"\w{500}").expect_err("too large").contains("too large"));
        assert!(Constant::pattern(&"a".repeat(PATTERN_BYTES_MAX + 1)).expect_err("too long").contains("longer"));
        assert!(Constant::pattern(&"(".repeat(30)).is_err());
        let fault = Constant::pattern("a(").expect_err("not closed");
        assert!(fault.contains("unclosed group"), "{fault}");
    }

    #[test]
    fn networks_are_ranges_or_addresses() {
        for (text, fine) in
            [("10.0.0.0/8", true), ("10.0.0.1", true), ("fd00::/8", true), ("10.0.0.0/33", false), ("x", false)]
        {
            assert_eq!(Constant::network(text).is_ok(), fine, "{text}");
        }
    }
}
