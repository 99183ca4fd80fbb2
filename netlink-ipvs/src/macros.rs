// SPDX-License-Identifier: Apache-2.0
//! Attributes from a table.

/// Makes an enum of attributes: a variant for each number with the type of its value, and `Other`
/// for what is unknown or does not have that type's form.
macro_rules! attributes {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident($type:ty) = $number:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant($type), )+
            /// One that this crate does not know, or whose value has not the form that it should
            /// have. It is kept as it came.
            Other(netlink_packet_core::DefaultNla),
        }

        impl netlink_packet_core::Nla for $name {
            fn value_len(&self) -> usize {
                match self {
                    $( $name::$variant(value) => $crate::value::Value::length(value), )+
                    $name::Other(nla) => nla.value_len(),
                }
            }

            fn kind(&self) -> u16 {
                match self {
                    $( $name::$variant(_) => $number, )+
                    $name::Other(nla) => nla.kind(),
                }
            }

            fn emit_value(&self, buffer: &mut [u8]) {
                match self {
                    $( $name::$variant(value) => $crate::value::Value::write(value, buffer), )+
                    $name::Other(nla) => nla.emit_value(buffer),
                }
            }
        }

        impl $crate::value::Attribute for $name {
            fn read(kind: u16, value: &[u8]) -> Option<Self> {
                match kind {
                    $( $number => $crate::value::Value::read(value).map($name::$variant), )+
                    _ => None,
                }
            }

            fn other(nla: netlink_packet_core::DefaultNla) -> Self {
                $name::Other(nla)
            }
        }
    };
}

pub(crate) use attributes;
