//! The module's functions as a program calls them: numbers in, numbers out, nothing remembered.

use std::ptr;

use cryptoki_sys::*;

/// The loaded module. Shared by the threads of a test.
#[derive(Clone, Copy)]
pub struct Raw(&'static CK_FUNCTION_LIST);

/// What a call answers besides CKR_OK.
pub type Answer<T> = Result<T, CK_RV>;

fn answer<T>(rv: CK_RV, value: T) -> Answer<T> {
    if rv == CKR_OK { Ok(value) } else { Err(rv) }
}

/// Calls a function that the list has.
macro_rules! call {
    ($raw:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let function = $raw.0.$name.expect("the module has all functions");
        // SAFETY: the pointers are to values of the caller that live until the call returns.
        unsafe { function($($argument),*) }
    }};
}

impl Raw {
    pub fn load(path: &std::path::Path) -> Self {
        // SAFETY: it is the module under test, which stays loaded for ever.
        let library = Box::leak(Box::new(unsafe { Pkcs11::new(path) }.expect("the module loads")));
        let mut list = ptr::null_mut();
        // SAFETY: `list` is a valid place.
        assert_eq!(unsafe { library.C_GetFunctionList(&mut list) }, CKR_OK);
        // SAFETY: the list is static.
        Self(unsafe { &*list })
    }

    pub fn initialise(self) -> Answer<()> {
        let mut arguments = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..Default::default() };
        answer(call!(self, C_Initialize(ptr::from_mut(&mut arguments).cast())), ())
    }

    pub fn finalise(self) -> Answer<()> {
        answer(call!(self, C_Finalize(ptr::null_mut())), ())
    }

    pub fn slots(self) -> Answer<Vec<CK_SLOT_ID>> {
        let mut count = 0;
        answer(call!(self, C_GetSlotList(CK_TRUE, ptr::null_mut(), &mut count)), ())?;
        let mut slots = vec![0; count as usize];
        answer(call!(self, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &mut count)), ())?;
        slots.truncate(count as usize);
        Ok(slots)
    }

    pub fn slot_flags(self, slot: CK_SLOT_ID) -> Answer<CK_FLAGS> {
        let mut info = CK_SLOT_INFO::default();
        let rv = call!(self, C_GetSlotInfo(slot, &mut info));
        answer(rv, info.flags)
    }

    pub fn token(self, slot: CK_SLOT_ID) -> Answer<CK_TOKEN_INFO> {
        let mut info = CK_TOKEN_INFO::default();
        let rv = call!(self, C_GetTokenInfo(slot, &mut info));
        answer(rv, info)
    }

    pub fn mechanisms(self, slot: CK_SLOT_ID) -> Answer<CK_ULONG> {
        let mut count = 0;
        let rv = call!(self, C_GetMechanismList(slot, ptr::null_mut(), &mut count));
        answer(rv, count)
    }

    /// The slot whose token has a label.
    pub fn labelled(self, label: &str) -> CK_SLOT_ID {
        let has = |slot: &CK_SLOT_ID| self.token(*slot).is_ok_and(|token| token.label.trim_ascii_end() == label.as_bytes());
        self.slots().unwrap().into_iter().find(has).unwrap_or_else(|| panic!("no token {label}"))
    }

    pub fn open(self, slot: CK_SLOT_ID) -> Answer<CK_SESSION_HANDLE> {
        let mut session = 0;
        let rv = call!(self, C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, ptr::null_mut(), None, &mut session));
        answer(rv, session)
    }

    pub fn close(self, session: CK_SESSION_HANDLE) -> Answer<()> {
        answer(call!(self, C_CloseSession(session)), ())
    }

    pub fn close_all(self, slot: CK_SLOT_ID) -> Answer<()> {
        answer(call!(self, C_CloseAllSessions(slot)), ())
    }

    /// The slot and the state of a session.
    pub fn info(self, session: CK_SESSION_HANDLE) -> Answer<(CK_SLOT_ID, CK_STATE)> {
        let mut info = CK_SESSION_INFO::default();
        let rv = call!(self, C_GetSessionInfo(session, &mut info));
        answer(rv, (info.slotID, info.state))
    }

    pub fn login(self, session: CK_SESSION_HANDLE) -> Answer<()> {
        let mut pin = crate::PIN.as_bytes().to_vec();
        answer(call!(self, C_Login(session, CKU_USER, pin.as_mut_ptr(), pin.len() as CK_ULONG)), ())
    }

    pub fn random(self, session: CK_SESSION_HANDLE) -> Answer<()> {
        self.random_into(session, &mut [0; 8])
    }

    pub fn random_into(self, session: CK_SESSION_HANDLE, bytes: &mut [u8]) -> Answer<()> {
        answer(call!(self, C_GenerateRandom(session, bytes.as_mut_ptr(), bytes.len() as CK_ULONG)), ())
    }

    /// An AES key on the token, or of the session, with one byte for an id.
    pub fn generate(self, session: CK_SESSION_HANDLE, id: u8, token: CK_BBOOL) -> Answer<CK_OBJECT_HANDLE> {
        self.generate_aes(session, &[id], token)
    }

    /// An AES key on the token, or of the session.
    pub fn generate_aes(self, session: CK_SESSION_HANDLE, id: &[u8], token: CK_BBOOL) -> Answer<CK_OBJECT_HANDLE> {
        let (mut id, mut token, mut yes, mut length) = (id.to_vec(), token, CK_TRUE, CK_ULONG::from(32u8));
        let mut template = [
            bytes(CKA_ID, &mut id),
            attribute(CKA_TOKEN, &mut token),
            attribute(CKA_PRIVATE, &mut yes.clone()),
            attribute(CKA_ENCRYPT, &mut yes.clone()),
            attribute(CKA_DECRYPT, &mut yes),
            attribute(CKA_VALUE_LEN, &mut length),
        ];
        let mut mechanism = CK_MECHANISM { mechanism: CKM_AES_KEY_GEN, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        let mut key = 0;
        let count = template.len() as CK_ULONG;
        let rv = call!(self, C_GenerateKey(session, &mut mechanism, template.as_mut_ptr(), count, &mut key));
        answer(rv, key)
    }

    /// A pair for P-256: the public half and the private one.
    pub fn generate_pair(
        self,
        session: CK_SESSION_HANDLE,
        id: &[u8],
        token: CK_BBOOL,
    ) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let (mut id, mut token, mut yes, mut curve) = (id.to_vec(), token, CK_TRUE, P256.to_vec());
        let mut same_id = id.clone();
        let mut public = [
            bytes(CKA_ID, &mut same_id),
            attribute(CKA_TOKEN, &mut token),
            attribute(CKA_VERIFY, &mut yes),
            bytes(CKA_EC_PARAMS, &mut curve),
        ];
        let mut private = [bytes(CKA_ID, &mut id), attribute(CKA_TOKEN, &mut token), attribute(CKA_DERIVE, &mut yes)];
        let mut mechanism = CK_MECHANISM { mechanism: CKM_EC_KEY_PAIR_GEN, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        let (mut of_public, mut of_private) = (0, 0);
        let (public, public_count) = (public.as_mut_ptr(), public.len() as CK_ULONG);
        let (private, private_count) = (private.as_mut_ptr(), private.len() as CK_ULONG);
        let places = (&raw mut of_public, &raw mut of_private);
        let rv = call!(
            self,
            C_GenerateKeyPair(session, &mut mechanism, public, public_count, private, private_count, places.0, places.1)
        );
        answer(rv, (of_public, of_private))
    }

    /// A pair for RSA of the session: the public half and the private one.
    pub fn generate_rsa_pair(self, session: CK_SESSION_HANDLE) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let mut bits = CK_ULONG::from(1024u16);
        let mut public = [attribute(CKA_MODULUS_BITS, &mut bits)];
        let mut mechanism = CK_MECHANISM { mechanism: CKM_RSA_PKCS_KEY_PAIR_GEN, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        let (mut of_public, mut of_private) = (0, 0);
        let (public, none) = (public.as_mut_ptr(), ptr::null_mut());
        let places = (&raw mut of_public, &raw mut of_private);
        let rv = call!(self, C_GenerateKeyPair(session, &mut mechanism, public, 1, none, 0, places.0, places.1));
        answer(rv, (of_public, of_private))
    }

    /// A secret key on the token, brought in.
    pub fn create(self, session: CK_SESSION_HANDLE, id: &[u8]) -> Answer<CK_OBJECT_HANDLE> {
        self.create_secret(session, id, CK_TRUE)
    }

    /// A secret key on the token, or of the session, brought in.
    pub fn create_secret(self, session: CK_SESSION_HANDLE, id: &[u8], token: CK_BBOOL) -> Answer<CK_OBJECT_HANDLE> {
        let (mut class, mut kind, mut token) = (CKO_SECRET_KEY, CKK_GENERIC_SECRET, token);
        let (mut id, mut value) = (id.to_vec(), vec![7; 32]);
        let mut template = [
            attribute(CKA_CLASS, &mut class),
            attribute(CKA_KEY_TYPE, &mut kind),
            attribute(CKA_TOKEN, &mut token),
            bytes(CKA_ID, &mut id),
            bytes(CKA_VALUE, &mut value),
        ];
        let mut object = 0;
        let count = template.len() as CK_ULONG;
        let rv = call!(self, C_CreateObject(session, template.as_mut_ptr(), count, &mut object));
        answer(rv, object)
    }

    /// A secret that a private key and a public one agree on.
    pub fn derive(
        self,
        session: CK_SESSION_HANDLE,
        (private, public): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
        token: CK_BBOOL,
    ) -> Answer<CK_OBJECT_HANDLE> {
        let mut point = self.attribute(session, public, CKA_EC_POINT)?;
        let mut agreement = CK_ECDH1_DERIVE_PARAMS {
            kdf: CKD_NULL,
            ulSharedDataLen: 0,
            pSharedData: ptr::null_mut(),
            ulPublicDataLen: point.len() as CK_ULONG,
            pPublicData: point.as_mut_ptr(),
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_ECDH1_DERIVE,
            pParameter: ptr::from_mut(&mut agreement).cast(),
            ulParameterLen: size_of::<CK_ECDH1_DERIVE_PARAMS>() as CK_ULONG,
        };
        let (mut class, mut kind, mut token) = (CKO_SECRET_KEY, CKK_GENERIC_SECRET, token);
        let mut length = CK_ULONG::from(32u8);
        let mut template = [
            attribute(CKA_CLASS, &mut class),
            attribute(CKA_KEY_TYPE, &mut kind),
            attribute(CKA_TOKEN, &mut token),
            attribute(CKA_VALUE_LEN, &mut length),
        ];
        let mut key = 0;
        let count = template.len() as CK_ULONG;
        let rv = call!(self, C_DeriveKey(session, &mut mechanism, private, template.as_mut_ptr(), count, &mut key));
        answer(rv, key)
    }

    /// An attribute of an object.
    pub fn attribute(self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> Answer<Vec<u8>> {
        let mut value = vec![0; 512];
        let mut template = [bytes(kind, &mut value)];
        let rv = call!(self, C_GetAttributeValue(session, object, template.as_mut_ptr(), 1));
        answer(rv, value[..(template[0].ulValueLen as usize).min(512)].to_vec())
    }

    pub fn destroy(self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Answer<()> {
        answer(call!(self, C_DestroyObject(session, object)), ())
    }

    /// The objects with an id.
    pub fn find(self, session: CK_SESSION_HANDLE, id: u8) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        self.find_init(session, id)?;
        let found = self.find_next::<8>(session);
        self.find_final(session)?;
        found
    }

    pub fn find_init(self, session: CK_SESSION_HANDLE, id: u8) -> Answer<()> {
        let mut id = id;
        let mut template = [attribute(CKA_ID, &mut id)];
        answer(call!(self, C_FindObjectsInit(session, template.as_mut_ptr(), 1)), ())
    }

    /// One C_FindObjects, of at most so many objects.
    pub fn find_next<const OBJECTS: usize>(self, session: CK_SESSION_HANDLE) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        let (mut objects, mut found) = ([0; OBJECTS], 0);
        let rv = call!(self, C_FindObjects(session, objects.as_mut_ptr(), OBJECTS as CK_ULONG, &mut found));
        answer(rv, objects[..found as usize].to_vec())
    }

    pub fn find_final(self, session: CK_SESSION_HANDLE) -> Answer<()> {
        answer(call!(self, C_FindObjectsFinal(session)), ())
    }

    /// The id of an object.
    pub fn id(self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Answer<u8> {
        let mut id = 0u8;
        let mut template = [attribute(CKA_ID, &mut id)];
        let rv = call!(self, C_GetAttributeValue(session, object, template.as_mut_ptr(), 1));
        answer(rv, id)
    }

    pub fn encrypt_init(self, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> Answer<()> {
        let mut mechanism = CK_MECHANISM { mechanism: CKM_AES_ECB, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        answer(call!(self, C_EncryptInit(session, &mut mechanism, key)), ())
    }

    pub fn encrypt(self, session: CK_SESSION_HANDLE) -> Answer<Vec<u8>> {
        let (mut data, mut result, mut length) = ([7; 16], [0; 32], 32);
        let rv = call!(self, C_Encrypt(session, data.as_mut_ptr(), 16, result.as_mut_ptr(), &mut length));
        answer(rv, result[..length as usize].to_vec())
    }

    /// Sixteen bytes, with AES-GCM. The IV is where the module may write to.
    pub fn encrypt_gcm(self, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE, iv: &mut [u8; 12]) -> Answer<Vec<u8>> {
        let mut parameters = gcm(iv);
        let mut mechanism = gcm_mechanism(&mut parameters);
        answer(call!(self, C_EncryptInit(session, &mut mechanism, key)), ())?;
        let (mut data, mut result, mut length) = ([7; 16], [0; 64], 64);
        let rv = call!(self, C_Encrypt(session, data.as_mut_ptr(), 16, result.as_mut_ptr(), &mut length));
        answer(rv, result[..length as usize].to_vec())
    }

    pub fn decrypt_gcm(
        self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        mut iv: [u8; 12],
        sealed: &[u8],
    ) -> Answer<Vec<u8>> {
        let mut parameters = gcm(&mut iv);
        let mut mechanism = gcm_mechanism(&mut parameters);
        answer(call!(self, C_DecryptInit(session, &mut mechanism, key)), ())?;
        let (mut data, mut result, mut length) = (sealed.to_vec(), [0; 64], 64);
        let count = data.len() as CK_ULONG;
        let rv = call!(self, C_Decrypt(session, data.as_mut_ptr(), count, result.as_mut_ptr(), &mut length));
        answer(rv, result[..length as usize].to_vec())
    }

    pub fn encrypt_update(self, session: CK_SESSION_HANDLE) -> Answer<()> {
        let (mut data, mut result, mut length) = ([7; 16], [0; 32], 32);
        answer(call!(self, C_EncryptUpdate(session, data.as_mut_ptr(), 16, result.as_mut_ptr(), &mut length)), ())
    }

    pub fn digest_init(self, session: CK_SESSION_HANDLE) -> Answer<()> {
        let mut mechanism = CK_MECHANISM { mechanism: CKM_SHA256, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        answer(call!(self, C_DigestInit(session, &mut mechanism)), ())
    }

    pub fn digest_update(self, session: CK_SESSION_HANDLE) -> Answer<()> {
        let mut data = [7; 16];
        answer(call!(self, C_DigestUpdate(session, data.as_mut_ptr(), 16)), ())
    }
}

fn gcm(iv: &mut [u8; 12]) -> CK_GCM_PARAMS {
    CK_GCM_PARAMS { pIv: iv.as_mut_ptr(), ulIvLen: 12, ulIvBits: 96, pAAD: ptr::null_mut(), ulAADLen: 0, ulTagBits: 128 }
}

fn gcm_mechanism(parameters: &mut CK_GCM_PARAMS) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: ptr::from_mut(parameters).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    }
}

/// The curve P-256 as an object identifier in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn bytes(kind: CK_ATTRIBUTE_TYPE, value: &mut Vec<u8>) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_: kind, pValue: value.as_mut_ptr().cast(), ulValueLen: value.len() as CK_ULONG }
}

fn attribute<T>(kind: CK_ATTRIBUTE_TYPE, value: &mut T) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_: kind, pValue: ptr::from_mut(value).cast(), ulValueLen: size_of::<T>() as CK_ULONG }
}
