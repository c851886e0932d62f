//! The file of an artifact that holds its numbers: one-dimensional tensors by name, in the safetensors format.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorView};

use super::{ArtifactError, broken};

/// The longest list of tensors that is read, in bytes.
const MOST: u64 = 1 << 20;

/// A file of tensors. Each is read into the memory that it will live in, so that opening a model takes no more memory than the model.
pub(super) struct Tensors {
    path: PathBuf,
    metadata: Metadata,
    /// Where the first tensor begins.
    start: u64,
}

impl Tensors {
    /// Reads the list of tensors, which have to fill the file.
    pub(super) fn open(path: &Path) -> Result<Self, ArtifactError> {
        let mut file = File::open(path)?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > MOST {
            return Err(broken(format!("the list of tensors has {length} bytes, more than {MOST}")));
        }
        let mut list = vec![0; length as usize];
        file.read_exact(&mut list)?;
        let metadata: Metadata =
            serde_json::from_slice(&list).map_err(|error| broken(format!("the list of tensors: {error}")))?;
        let (start, bytes) = (8 + length, file.metadata()?.len());
        if start + metadata.data_len() as u64 != bytes {
            return Err(broken(format!("its tensors do not fill {bytes} bytes")));
        }
        Ok(Self { path: path.to_owned(), metadata, start })
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The numbers of a tensor.
    pub(super) fn numbers<T: bytemuck::Pod + Number>(&self, name: &str) -> Result<Vec<T>, ArtifactError> {
        let tensor = self.metadata.info(name).ok_or_else(|| broken(format!("there is no {name}")))?;
        if tensor.dtype != T::DTYPE || tensor.shape.len() != 1 {
            return Err(broken(format!("{name} is {:?} of shape {:?}", tensor.dtype, tensor.shape)));
        }
        let mut numbers = vec![T::zeroed(); tensor.shape[0]];
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start + tensor.data_offsets.0 as u64))?;
        file.read_exact(bytemuck::cast_slice_mut(&mut numbers))?;
        Ok(numbers)
    }

    /// Names, parted by line breaks.
    pub(super) fn lines(&self, name: &str) -> Result<Vec<String>, ArtifactError> {
        let text = String::from_utf8(self.numbers::<u8>(name)?).map_err(|_| broken(format!("{name} are not UTF-8")))?;
        Ok(text.split_terminator('\n').map(str::to_owned).collect())
    }
}

/// Writes such a file.
pub(super) fn write(tensors: Vec<(String, TensorView<'_>)>, path: &Path) -> Result<(), ArtifactError> {
    safetensors::serialize_to_file(tensors, None, path).map_err(|error| match error {
        SafeTensorError::IoError(error) => error.into(),
        other => broken(other.to_string()),
    })
}

/// One-dimensional, as it lies in memory.
pub(super) fn view<T: bytemuck::NoUninit + Number>(values: &[T]) -> Result<TensorView<'_>, ArtifactError> {
    TensorView::new(T::DTYPE, vec![values.len()], bytemuck::cast_slice(values))
        .map_err(|error| broken(error.to_string()))
}

pub(super) trait Number {
    const DTYPE: Dtype;
}
impl Number for u8 {
    const DTYPE: Dtype = Dtype::U8;
}
impl Number for i8 {
    const DTYPE: Dtype = Dtype::I8;
}
impl Number for u32 {
    const DTYPE: Dtype = Dtype::U32;
}
impl Number for u64 {
    const DTYPE: Dtype = Dtype::U64;
}
impl Number for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
