"""Writes the .bin files beside it with PyTorch: what torch.save makes, and what must be refused."""
import collections
import os
import pickle
import sys
import zipfile

import torch

here = os.path.dirname(os.path.abspath(__file__))


def values(*shape, start=0):
    n = 1
    for size in shape:
        n *= size
    return (torch.arange(n, dtype=torch.float32) + start).reshape(shape) / 8


state = collections.OrderedDict()
path = "base_model.model.model.layers.0.self_attn.q_proj."
state[path + "lora_A.weight"] = values(2, 8)
state[path + "lora_B.weight"] = values(2, 6, start=3).t()  # strides of a transposed view
state[path + "weight_m_wdecomp.weight"] = torch.nn.Parameter(values(6, 1, start=9))
torch.save(state, os.path.join(here, "nvlabs.bin"))
torch.save({"model": {"half": values(3).half(), "brain": values(2, 2).bfloat16(), "count": torch.tensor(7)},
            "step": 5, "rate": 0.5, "names": ["a", "b"], "none": None, "yes": True, "large": 1 << 40},
           os.path.join(here, "nested.pt"))
torch.save(state, os.path.join(here, "legacy.bin"), _use_new_zipfile_serialization=False)


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def archive(name, content):
    with zipfile.ZipFile(os.path.join(here, name), "w", zipfile.ZIP_STORED) as file:
        file.writestr(zipfile.ZipInfo("archive/data.pkl"), content)
        file.writestr(zipfile.ZipInfo("archive/byteorder"), "little")


archive("hostile_system.bin", pickle.dumps({"a": Call(os.system, "false")}, protocol=2))
archive("hostile_eval.bin", pickle.dumps({"a": Call(eval, "1")}, protocol=4))
# a list in a list in a list ..., 2,000 deep
archive("deep.bin", b"\x80\x02]" + b"\x85" * 2000 + b".")
archive("self.bin", b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.")
archive("cut.bin", pickle.dumps({"a": 1}, protocol=2)[:-3])
# a tensor that claims more than its storage: offset 2 of 4 elements, 3 elements
view = (b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuK\x04tQK\x02K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR")
with zipfile.ZipFile(os.path.join(here, "past_the_end.bin"), "w", zipfile.ZIP_STORED) as file:
    file.writestr(zipfile.ZipInfo("archive/data.pkl"), b"\x80\x02}X\x01\x00\x00\x00a" + view + b"s.")
    file.writestr(zipfile.ZipInfo("archive/data/0"), bytes(16))
sys.stdout.write("written to " + here + "\n")
