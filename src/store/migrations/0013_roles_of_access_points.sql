-- The role whose sessions are the callers of an access point, as it was when that was made. It may be gone, which grants nothing.
ALTER TABLE access_points ADD COLUMN role_id TEXT CHECK ((method = 'RAMRole') = (role_id IS NOT NULL));
