//! local.conf to typed settings; every error with file, line, key and the nearest valid form.
