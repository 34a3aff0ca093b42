//! Stand-in.
/// Stand-in.
pub struct PublicKey;
