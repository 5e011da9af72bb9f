//! What every type that travels as text has in common.

/// Makes types that have `FromStr` and `Display` convertible from and to `String`, which is what serde is told to use.
macro_rules! via_text {
    ($($name:ident: $error:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}

pub(crate) use via_text;
