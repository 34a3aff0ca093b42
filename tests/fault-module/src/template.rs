//! Templates of objects that are to be made, as the token takes them.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use cryptoki_sys::{CK_ATTRIBUTE, CK_ULONG, CKA_ID};

/// A copy of a program's template. The values are the program's.
pub struct Template(Vec<CK_ATTRIBUTE>);

impl Template {
    /// # Safety
    /// `template` is null or has `count` attributes, whose values live as long as this copy.
    pub unsafe fn of(template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Self {
        let count = if template.is_null() { 0 } else { count as usize };
        // SAFETY: the caller says that there are so many.
        Self((0..count).map(|at| unsafe { *template.add(at) }).collect())
    }

    /// With so many bytes of CKA_ID at the most.
    pub fn cut_id(&mut self, most: CK_ULONG) {
        for attribute in &mut self.0 {
            if attribute.type_ == CKA_ID {
                attribute.ulValueLen = attribute.ulValueLen.min(most);
            }
        }
    }

    /// As an argument of a call.
    pub fn fields(&mut self) -> *mut CK_ATTRIBUTE {
        self.0.as_mut_ptr()
    }

    /// As an argument of a call.
    pub fn count(&self) -> CK_ULONG {
        self.0.len() as CK_ULONG
    }
}
