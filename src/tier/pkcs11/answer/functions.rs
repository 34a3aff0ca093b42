//! What a row of the table cannot know without the function that answered.

use cryptoki::context::Function;

use super::meaning::Level;

/// The name of a function in the standard: `C_GenerateKeyPair`.
pub fn function_name(function: Function) -> String {
    // The binding's variants are the names without their prefix, capitals included (C_InitPIN, C_AsyncGetID).
    format!("C_{function:?}")
}

/// Whether the function decides about a ciphertext, a wrapped key or a public point that a caller made.
pub(super) fn judges_input(function: Function) -> bool {
    matches!(
        function,
        Function::Decrypt
            | Function::DecryptUpdate
            | Function::DecryptFinal
            | Function::DecryptDigestUpdate
            | Function::DecryptVerifyUpdate
            | Function::DecryptMessage
            | Function::DecryptMessageNext
            | Function::UnwrapKey
            | Function::UnwrapKeyAuthenticated
            | Function::DeriveKey
            | Function::DecapsulateKey
    )
}

/// Whether the function makes, changes or destroys an object, so that doing it twice is not doing it once.
pub(super) fn changes_token(function: Function) -> bool {
    matches!(
        function,
        Function::CreateObject
            | Function::CopyObject
            | Function::DestroyObject
            | Function::SetAttributeValue
            | Function::GenerateKey
            | Function::GenerateKeyPair
            | Function::UnwrapKey
            | Function::UnwrapKeyAuthenticated
            | Function::DeriveKey
            | Function::EncapsulateKey
            | Function::DecapsulateKey
            | Function::InitToken
            | Function::InitPIN
            | Function::SetPIN
            | Function::AsyncComplete
            | Function::AsyncJoin
    )
}

/// Whether the function shows a PIN to the token, which counts the wrong ones (PKCS #11, 5.5 and 5.6).
pub(super) fn spends_a_try(function: Function) -> bool {
    matches!(function, Function::InitToken | Function::InitPIN | Function::SetPIN) || logs_in(function)
}

/// Whether the function logs in.
pub(super) fn logs_in(function: Function) -> bool {
    matches!(function, Function::Login | Function::LoginUser)
}

/// Whether the function ends a session or a login, so that "there is none" says that it is done.
pub(super) fn tears_down(function: Function) -> bool {
    matches!(function, Function::CloseSession | Function::CloseAllSessions | Function::Logout)
}

/// Whether an answer may be about one key, one template or one input rather than about the module.
pub(super) fn concerns_an_object(function: Function) -> bool {
    // Without a session there is no object; of those with one, these are about the session, the login or the token.
    least_level(function) == Level::Operation
        && !matches!(
            function,
            Function::InitPIN
                | Function::SetPIN
                | Function::CloseSession
                | Function::GetSessionInfo
                | Function::GetSessionValidationFlags
                | Function::SessionCancel
                | Function::GetFunctionStatus
                | Function::CancelFunction
                | Function::Login
                | Function::LoginUser
                | Function::Logout
                | Function::FindObjectsInit
                | Function::FindObjects
                | Function::FindObjectsFinal
                | Function::SeedRandom
                | Function::GenerateRandom
        )
}

/// The least that can be broken when the function fails: without a session it is no session (PKCS #11, 5.1.2 and 5.1.3).
pub(super) fn least_level(function: Function) -> Level {
    if matches!(
        function,
        Function::Initialize
            | Function::Finalize
            | Function::GetInfo
            | Function::GetFunctionList
            | Function::GetInterfaceList
            | Function::GetInterface
            | Function::GetSlotList
            | Function::WaitForSlotEvent
    ) {
        Level::Module
    } else if matches!(
        function,
        Function::GetSlotInfo
            | Function::GetTokenInfo
            | Function::GetMechanismList
            | Function::GetMechanismInfo
            | Function::InitToken
            | Function::OpenSession
            | Function::CloseAllSessions
    ) {
        Level::Token
    } else {
        Level::Operation
    }
}
