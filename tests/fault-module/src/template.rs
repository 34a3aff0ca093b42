//! Templates of objects that are to be made, as the token takes them.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_ATTRIBUTE_TYPE, CK_BBOOL, CK_FALSE, CK_OBJECT_CLASS, CK_ULONG, CKA_CLASS, CKA_ID, CKA_TOKEN, CKO_PRIVATE_KEY,
    CKO_SECRET_KEY,
};

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

    /// Whether the object is of the session; it is when nothing is said (PKCS #11, section 4.4).
    pub fn is_of_session(&self) -> bool {
        self.value::<CK_BBOOL>(CKA_TOKEN).is_none_or(|token| token == CK_FALSE)
    }

    /// Whether it says that the object is a private or a secret key.
    pub fn says_secret(&self) -> bool {
        self.value::<CK_OBJECT_CLASS>(CKA_CLASS).is_some_and(|class| [CKO_PRIVATE_KEY, CKO_SECRET_KEY].contains(&class))
    }

    /// A value that is a number.
    fn value<T: Copy + Into<CK_ULONG>>(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<T> {
        let attribute = self.0.iter().find(|attribute| attribute.type_ == kind)?;
        let whole = attribute.ulValueLen as usize == size_of::<T>() && !attribute.pValue.is_null();
        // SAFETY: there are so many bytes of the program, and every pattern of them is a number.
        whole.then(|| unsafe { attribute.pValue.cast::<T>().read_unaligned() })
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
