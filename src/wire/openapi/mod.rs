//! The RPC-style OpenAPI, version 2016-01-20: its operations, parameters and answers.

pub mod answers;
mod parameters;

use std::str::FromStr;

pub use parameters::Parameters;

/// The only version.
pub const VERSION: &str = "2016-01-20";
/// The most bytes of a form body: a secret's value has at most 30 KB, an asymmetric ciphertext less.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Gives the served operations their names.
macro_rules! actions {
    ($($name:ident),+ $(,)?) => {
        /// An operation that is served, as `Action` or `x-acs-action` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the API's")]
        pub enum Action {
            $($name),+
        }

        impl Action {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The API's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }
        }
    };
}

actions![
    CreateKey,
    DescribeKey,
    ListKeys,
    ListKmsInstances,
    GetKmsInstance,
    CreateNetworkRule,
    DescribeNetworkRule,
    ListNetworkRules,
    DeleteNetworkRule,
    CreatePolicy,
    DescribePolicy,
    ListPolicies,
    DeletePolicy,
    CreateApplicationAccessPoint,
    DescribeApplicationAccessPoint,
    ListApplicationAccessPoints,
    DeleteApplicationAccessPoint,
    CreateClientKey,
    GetClientKey,
    ListClientKeys,
    DeleteClientKey,
];

impl FromStr for Action {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|action| action.name() == text).ok_or(())
    }
}
