//! The functions of PKCS #11 2.40 by name, and the names for groups of them that rules may use.

/// Calls a macro with the names of all functions, in the order of CK_FUNCTION_LIST.
macro_rules! with_all_functions {
    ($callback:ident) => {
        $callback! {
            C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo C_GetMechanismList
            C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession C_CloseSession C_CloseAllSessions C_GetSessionInfo
            C_GetOperationState C_SetOperationState C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize
            C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt
            C_EncryptUpdate C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest
            C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit C_SignRecover
            C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate
            C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey
            C_DeriveKey C_SeedRandom C_GenerateRandom C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
        }
    };
}
pub(crate) use with_all_functions;

macro_rules! define {
    ($($name:ident)*) => {
        /// A function of PKCS #11.
        #[allow(non_camel_case_types, clippy::enum_variant_names, reason = "the names of the standard")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Function {
            $(#[doc = concat!("`", stringify!($name), "`")] $name,)*
        }

        impl Function {
            /// All of them; the place of each is its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As in the standard.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}
with_all_functions!(define);

/// Names for several functions at once.
const GROUPS: &[(&str, &[Function])] = &[
    (
        "C_*Init",
        &[Function::C_EncryptInit, Function::C_DecryptInit, Function::C_SignInit, Function::C_VerifyInit, Function::C_DigestInit],
    ),
    ("C_GenerateKey*", &[Function::C_GenerateKey, Function::C_GenerateKeyPair]),
    ("C_FindObjects*", &[Function::C_FindObjectsInit, Function::C_FindObjects, Function::C_FindObjectsFinal]),
];

impl Function {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The place in a table of [`Function::COUNT`] places.
    pub fn number(self) -> usize {
        self as usize
    }

    /// What a rule means by a name: a function, a group, or `all` of them but C_GetFunctionList, which belongs to loading.
    ///
    /// # Errors
    /// A text for the person who wrote it.
    pub fn named(text: &str) -> Result<Vec<Self>, String> {
        if text == "all" {
            return Ok(Self::ALL.iter().copied().filter(|function| *function != Self::C_GetFunctionList).collect());
        }
        if let Some((_, functions)) = GROUPS.iter().find(|(name, _)| *name == text) {
            return Ok(functions.to_vec());
        }
        match Self::ALL.iter().find(|function| function.name() == text) {
            Some(function) => Ok(vec![*function]),
            None => {
                let groups: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
                Err(format!("{text} is no function of PKCS#11 2.40, nor all, {}", groups.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name() {
        assert_eq!(Function::COUNT, 68);
        assert_eq!(Function::named("C_Sign").unwrap(), [Function::C_Sign]);
        assert_eq!(Function::named("C_GenerateKey*").unwrap(), [Function::C_GenerateKey, Function::C_GenerateKeyPair]);
        assert_eq!(Function::named("all").unwrap().len(), 67);
        assert!(!Function::named("C_*Init").unwrap().contains(&Function::C_FindObjectsInit));
        assert!(Function::named("C_sign").unwrap_err().contains("C_sign"));
        for (at, function) in Function::ALL.iter().enumerate() {
            assert_eq!(function.number(), at);
        }
    }
}
