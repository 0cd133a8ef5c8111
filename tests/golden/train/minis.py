"""Miniatures of the families of segmentation networks: every operator of the large ones, few thousand weights.

All take [N, 3, 32, 32] and give 5 classes at the same size, save `regression` (2 continuous values).
"""
import torch
from torch import nn
from torch.nn import functional as F

BANDS, CLASSES = 3, 5


def conv_bn(i, o, kernel=3, stride=1, act=nn.ReLU, **options):
    """Convolution without bias, BatchNorm, activation."""
    padding = options.pop("padding", (kernel - 1) // 2 * options.get("dilation", 1))
    layers = [nn.Conv2d(i, o, kernel, stride, padding, bias=False, **options), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Unet(nn.Module):
    """Three levels, max pooling, nearest upsampling, skips by concatenation."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([conv_bn(3, 6), conv_bn(6, 8), conv_bn(8, 10)])
        self.up = nn.ModuleList([conv_bn(18, 8), conv_bn(14, 6)])
        self.head = nn.Conv2d(6, CLASSES, 3, padding=1)

    def forward(self, image):
        a = self.down[0](image)
        b = self.down[1](F.max_pool2d(a, 2))
        c = self.down[2](F.max_pool2d(b, 3, 2, 1))
        b = self.up[0](torch.cat([F.interpolate(c, scale_factor=2.0), b], 1))
        a = self.up[1](torch.cat([F.interpolate(b, size=a.shape[2:]), a], 1))
        return self.head(a)


class UnetPlusPlus(nn.Module):
    """Nested dense skips between three levels; residual blocks."""

    def __init__(self):
        super().__init__()
        self.enter = conv_bn(3, 6, 5, 2)
        self.res = nn.ModuleList([conv_bn(6, 6, act=None), conv_bn(6, 8, stride=2, act=None)])
        self.short = conv_bn(6, 8, 1, 2, act=None)
        self.third = conv_bn(8, 8, stride=2)
        self.x10, self.x01, self.x02 = conv_bn(16, 6), conv_bn(14, 6), conv_bn(18, 6)
        self.head = nn.Conv2d(6, CLASSES, 1)

    def forward(self, image):
        def double(x):
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        x0 = self.enter(image)
        x0 = F.relu(x0 + self.res[0](x0))
        x1 = F.relu(self.res[1](x0) + self.short(x0))
        x2 = self.third(x1)
        x01 = self.x01(torch.cat([double(x1), x0], 1))
        x11 = self.x10(torch.cat([double(x2), x1], 1))
        x02 = self.x02(torch.cat([double(x11), x0, x01], 1))
        return self.head(double(x02))


class SamePad(nn.Conv2d):
    """Convolution padded as TensorFlow does it: more at the right and bottom where the sum is odd."""

    def forward(self, x):
        pads = []
        for size, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-int(size) // s) - 1) * s + k - int(size), 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Inverted(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection: EfficientNet (SiLU) and MobileNetV3."""

    def __init__(self, i, o, kernel, stride, act, gate, same=False):
        super().__init__()
        mid = 2 * i
        self.expand = conv_bn(i, mid, 1, act=act)
        depthwise = (SamePad(mid, mid, kernel, stride, groups=mid, bias=False) if same else
                     nn.Conv2d(mid, mid, kernel, stride, kernel // 2, groups=mid, bias=False))
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(mid), act())
        self.squeeze = nn.Sequential(nn.Conv2d(mid, 4, 1), act(), nn.Conv2d(4, mid, 1), gate())
        self.project = conv_bn(mid, o, 1, act=None)
        self.same = i == o and stride == 1

    def forward(self, x):
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.squeeze(y.mean((2, 3), keepdim=True)))
        return x + y if self.same else y


class Fpn(nn.Module):
    """EfficientNet-like encoder; lateral 1 x 1 convolutions, sums; group-normalised heads, summed."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Sequential(SamePad(3, 6, 3, 2, bias=False), nn.BatchNorm2d(6), nn.SiLU())
        self.a = Inverted(6, 6, 3, 1, nn.SiLU, nn.Sigmoid, True)
        self.b = Inverted(6, 8, 5, 2, nn.SiLU, nn.Sigmoid, True)
        self.c = Inverted(8, 10, 3, 2, nn.SiLU, nn.Sigmoid, True)
        self.lateral = nn.ModuleList(nn.Conv2d(i, 8, 1) for i in (6, 8, 10))
        self.smooth = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.GroupNorm(4, 8), nn.ReLU()) for _ in range(3))
        self.head = nn.Conv2d(8, CLASSES, 1)

    def forward(self, image):
        a = self.a(self.enter(image))
        b = self.b(a)
        c = self.c(b)
        p3 = self.lateral[2](c)
        p2 = F.interpolate(p3, scale_factor=2.0, mode="nearest") + self.lateral[1](b)
        p1 = F.interpolate(p2, scale_factor=2.0, mode="nearest") + self.lateral[0](a)
        maps = [F.interpolate(f(p), size=(16, 16), mode="bilinear", align_corners=True) for f, p in zip(self.smooth, (p1, p2, p3))]
        x = torch.stack(maps).sum(0)
        return F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear", align_corners=False)


class Psp(nn.Module):
    """Pyramid of adaptive average pools."""

    def __init__(self, grids):
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, 8, stride=2), conv_bn(8, 12, stride=2))
        self.pools = nn.ModuleList(nn.Sequential(
            nn.AdaptiveAvgPool2d(g), nn.Conv2d(12, 4, 1, bias=g == 1), nn.ReLU() if g == 1 else nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
            for g in grids)
        self.join = conv_bn(12 + 4 * len(grids), 10, 1)
        self.drop = nn.Dropout2d(0.2)
        self.head = nn.Sequential(nn.Conv2d(10, CLASSES, 3, padding=1), nn.UpsamplingBilinear2d(scale_factor=4))

    def forward(self, image):
        x = self.body(image)
        pooled = [F.interpolate(p(x), size=x.shape[2:], mode="bilinear", align_corners=True) for p in self.pools]
        return self.head(self.drop(self.join(torch.cat([x, *pooled], 1))))


class Attentive(nn.Module):
    """Spatial and channel squeeze-excitation, pooled pyramid and gated upsampling as in PAN (its gate has BatchNorm too,
    which in training on two values is too ill-conditioned for a golden), position attention."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv_bn(3, 6, stride=2), conv_bn(6, 8, stride=2)
        self.channel = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid())
        self.spatial = nn.Sequential(nn.Conv2d(8, 1, 1), nn.Sigmoid())
        self.whole = conv_bn(8, 8, 1)
        self.d1, self.d2 = conv_bn(8, 1, 5), conv_bn(1, 1)
        self.u1 = conv_bn(1, 1)
        for one in (self.d1, self.d2, self.u1):
            nn.init.ones_(one[1].bias)  # else the only channel may be dead
        self.q, self.k, self.v = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 8, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Sigmoid())
        self.low = conv_bn(6, 6)
        self.up = conv_bn(8, 6, 1)
        self.head = nn.Conv2d(6, CLASSES, 1)

    def forward(self, image):
        a = self.a(image)
        b = self.b(a)
        b = b * self.channel(b) + b * self.spatial(b)
        d1 = self.d1(F.max_pool2d(b, 3, 1, 1))
        d2 = self.d2(F.max_pool2d(d1, 2, 2))
        d1 = F.interpolate(self.u1(d2), size=d1.shape[2:], mode="bilinear", align_corners=True) + d1
        pyramid = F.interpolate(d1, size=b.shape[2:], mode="bilinear", align_corners=True) * self.whole(b)
        n, c, h, w = b.shape
        q, k, v = self.q(b).flatten(2), self.k(b).flatten(2), self.v(b).flatten(2)
        weights = torch.softmax(torch.matmul(q.transpose(1, 2), k).flatten(1), 1).view(n, h * w, h * w)
        position = torch.matmul(weights, v.transpose(1, 2)).transpose(1, 2).reshape(n, c, h, w)
        b = pyramid + b + 20 * position
        a = self.low(a) * self.gate(b) + F.interpolate(self.up(b), size=a.shape[2:], mode="bilinear", align_corners=True)
        return F.interpolate(self.head(a), scale_factor=2.0, mode="bilinear", align_corners=True)


class Deeplab(nn.Module):
    """MobileNetV2-like encoder (ReLU6), atrous separable pyramid with an image-pooling branch, a skip."""

    def __init__(self):
        super().__init__()
        self.enter = conv_bn(3, 6, stride=2, act=nn.ReLU6)
        self.block = nn.Sequential(conv_bn(6, 12, 1, act=nn.ReLU6), conv_bn(12, 12, stride=2, groups=12, act=nn.ReLU6), conv_bn(12, 8, 1, act=None))
        self.atrous = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 3, padding=r, dilation=r, groups=8, bias=False), conv_bn(8, 6, 1)) for r in (2, 4))
        self.point = conv_bn(8, 6, 1)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 6, 1), nn.ReLU())
        self.join = nn.Sequential(conv_bn(24, 8, 1), nn.Dropout(0.5))
        self.skip = conv_bn(6, 4, 1)
        self.head = nn.Sequential(conv_bn(12, 8, groups=4), nn.Conv2d(8, CLASSES, 1), nn.UpsamplingBilinear2d(scale_factor=2))

    def forward(self, image):
        low = self.enter(image)
        x = self.block(low)
        pooled = F.interpolate(self.pool(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        x = self.join(torch.cat([self.point(x), *(f(x) for f in self.atrous), pooled], 1))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        return self.head(torch.cat([x, self.skip(low)], 1))


class Mobile(nn.Module):
    """MobileNetV3-like encoder with a UNet decoder: HardSwish, HardSigmoid."""

    def __init__(self):
        super().__init__()
        self.enter = conv_bn(3, 6, stride=2, act=nn.Hardswish)
        self.a = Inverted(6, 6, 3, 1, nn.Hardswish, nn.Hardsigmoid)
        self.b = Inverted(6, 8, 5, 2, nn.Hardswish, nn.Hardsigmoid)
        self.up = conv_bn(14, 8)
        self.head = nn.Conv2d(8, CLASSES, 3, padding=1)

    def forward(self, image):
        a = self.a(self.enter(image))
        x = torch.cat([F.interpolate(self.b(a), scale_factor=2.0, mode="nearest"), a], 1)
        return self.head(F.interpolate(self.up(x), scale_factor=2.0, mode="nearest"))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a map."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.a, self.b = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.b(F.gelu(self.a(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """Patchifying stem, 7 x 7 depthwise blocks with layer scale, a decoder with residual skip."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), ChannelNorm(8))
        self.first = ConvNextBlock(8)
        self.down = nn.Sequential(ChannelNorm(8), nn.Conv2d(8, 12, 2, stride=2))
        self.second = ConvNextBlock(12)
        self.up = nn.Conv2d(12, 8, 1)
        self.head = nn.Conv2d(8, CLASSES, 3, padding=1)

    def forward(self, image):
        a = self.first(self.stem(image))
        b = self.up(self.second(self.down(a)))
        a = a + F.interpolate(b, size=a.shape[2:], mode="bilinear", align_corners=False)
        return self.head(F.interpolate(a, scale_factor=4.0, mode="bilinear", align_corners=False))


class MixBlock(nn.Module):
    """Attention whose keys and values come from a reduced map; feed-forward with a depthwise convolution."""

    def __init__(self, width, heads, reduction):
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.reduce = nn.Conv2d(width, width, reduction, stride=reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(width) if reduction > 1 else None
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)

    def forward(self, x, h, w):
        n, tokens, c = x.shape
        y = self.norm1(x)
        q = self.q(y).reshape(n, tokens, self.heads, c // self.heads).permute(0, 2, 1, 3)
        if self.reduce is not None:
            y = self.norm(self.reduce(y.permute(0, 2, 1).reshape(n, c, h, w)).reshape(n, c, -1).permute(0, 2, 1))
        k, v = self.kv(y).reshape(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        a = ((q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5).softmax(-1)
        x = x + self.proj((a @ v).transpose(1, 2).reshape(n, tokens, c))
        y = self.fc1(self.norm2(x)).transpose(1, 2).view(n, -1, h, w)
        return x + self.fc2(F.gelu(self.depthwise(y).flatten(2).transpose(1, 2)))


class Segformer(nn.Module):
    """Overlapping patches, two stages, a decoder of linear layers joined at the finer resolution."""

    def __init__(self):
        super().__init__()
        self.embed = nn.ModuleList([nn.Conv2d(3, 8, 7, 4, 3), nn.Conv2d(8, 12, 3, 2, 1)])
        self.embed_norm = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(12)])
        self.blocks = nn.ModuleList([MixBlock(8, 1, 2), MixBlock(12, 2, 1)])
        self.norm = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(12)])
        self.linear = nn.ModuleList([nn.Linear(8, 10), nn.Linear(12, 10)])
        self.fuse = conv_bn(20, 10, 1)
        self.head = nn.Conv2d(10, CLASSES, 1)

    def forward(self, image):
        x, maps = image, []
        for embed, first, block, norm, linear in zip(self.embed, self.embed_norm, self.blocks, self.norm, self.linear):
            x = embed(x)
            n, c, h, w = x.shape
            tokens = norm(block(first(x.flatten(2).transpose(1, 2)), h, w))
            x = tokens.reshape(n, h, w, c).permute(0, 3, 1, 2).contiguous()
            y = linear(tokens).permute(0, 2, 1).reshape(n, -1, h, w)
            maps.append(F.interpolate(y, size=(8, 8), mode="bilinear", align_corners=False))
        x = self.head(self.fuse(torch.cat(maps[::-1], 1)))
        return F.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False)


class SwinBlock(nn.Module):
    """Attention within 4 x 4 windows, shifted or not, with a table of biases by relative position."""

    def __init__(self, width, heads, side, shift, window=4):
        super().__init__()
        self.heads, self.side, self.shift, self.window = heads, side, shift, window
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.a, self.b = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.bias_table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.5)
        y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        at = torch.stack([y.flatten(), x.flatten()])
        offset = at[:, :, None] - at[:, None, :] + window - 1
        self.register_buffer("index", offset[0] * (2 * window - 1) + offset[1])
        if shift:
            region = torch.zeros(side)
            region[-window:-shift], region[-shift:] = 1, 2
            region = region[:, None] * 3 + region[None, :]
            region = region.view(side // window, window, -1, window).transpose(1, 2).reshape(-1, window * window)
            self.register_buffer("mask", torch.where(region[:, None, :] == region[:, :, None], 0.0, -100.0))

    def forward(self, x):
        n, s, _, c = x.shape
        w, windows, tokens = self.window, (s // self.window) ** 2, self.window ** 2
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = y.view(n, s // w, w, s // w, w, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, tokens, c)
        q, k, v = self.qkv(y).reshape(-1, tokens, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        a = (q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)
        a = a + self.bias_table[self.index.view(-1)].view(tokens, tokens, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        if self.shift:
            a = (a.view(n, windows, self.heads, tokens, tokens) + self.mask[None, :, None]).view(-1, self.heads, tokens, tokens)
        y = self.proj((a.softmax(-1) @ v).transpose(1, 2).reshape(-1, tokens, c))
        y = y.view(n, s // w, s // w, w, w, c).permute(0, 1, 3, 2, 4, 5).reshape(n, s, s, c)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.b(F.gelu(self.a(self.norm2(x))))


class Swin(nn.Module):
    """Two windowed blocks, patch merging, a decoder."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Conv2d(3, 6, 4, stride=4), nn.LayerNorm(6)
        self.blocks = nn.ModuleList([SwinBlock(6, 2, 8, 0), SwinBlock(6, 2, 8, 2)])
        self.merge_norm, self.merge = nn.LayerNorm(24), nn.Linear(24, 12, bias=False)
        self.up = nn.Conv2d(12, 6, 1)
        self.head = nn.Conv2d(6, CLASSES, 3, padding=1)

    def forward(self, image):
        x = self.norm(self.embed(image).permute(0, 2, 3, 1))
        for block in self.blocks:
            x = block(x)
        quarters = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        y = self.merge(self.merge_norm(torch.cat(quarters, -1)))
        y = F.interpolate(self.up(y.permute(0, 3, 1, 2)), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(F.interpolate(y + x.permute(0, 3, 1, 2), scale_factor=4.0, mode="bilinear", align_corners=False))


class VitBlock(nn.Module):
    def __init__(self, width, heads, kind):
        super().__init__()
        self.heads, self.kind = heads, kind
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        if kind == "bundled":
            self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        else:
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(approximate="tanh"), nn.Linear(2 * width, width))

    def attend(self, x):
        if self.kind == "bundled":
            return self.attention(x, x, x, need_weights=False)[0]
        n, tokens, c = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.kind == "fused":
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(n, tokens, c))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Plain vision transformer with class token and position embedding, decoder of transposed convolutions."""

    def __init__(self, kind="plain"):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 8, stride=8)
        self.cls_token, self.pos_embed = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 17, 8) * 0.5)
        self.blocks = nn.ModuleList([VitBlock(8, 4, kind), VitBlock(8, 2, kind)])
        self.norm = nn.LayerNorm(8)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, 8, 2, stride=2), nn.GELU(),
            nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1), nn.GELU(),
            nn.ConvTranspose2d(6, 6, 3, stride=2, padding=1, output_padding=1))
        self.head = nn.Conv2d(6, CLASSES, 1)

    def forward(self, image):
        x = self.embed(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)[:, 1:].transpose(1, 2)
        return self.head(self.decoder(x.reshape(x.shape[0], 8, 4, 4)))


class Varied(nn.Module):
    """Group and instance normalisation, PReLU and relatives, pixel shuffles, reflected and replicated borders."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.GroupNorm(4, 8), nn.PReLU(8))
        self.down = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.InstanceNorm2d(8, affine=True), nn.LeakyReLU(0.1),
            nn.Conv2d(8, 8, 3, padding=1, padding_mode="replicate", bias=False), nn.GroupNorm(2, 8), nn.Mish())
        self.deep = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(32, 8, 1), nn.InstanceNorm2d(8), nn.ELU(),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4), nn.GroupNorm(1, 8), nn.Softplus())
        self.up = nn.Sequential(nn.Conv2d(8, 32, 1), nn.PixelShuffle(2), nn.PReLU())
        self.join = nn.Sequential(nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1, groups=2), nn.Tanh())
        self.head = nn.Conv2d(16, CLASSES, 1)

    def forward(self, image):
        a = self.enter(image)
        b = self.down(a)
        c = self.join(torch.cat([self.up(self.deep(b)), b], 1))
        return self.head(torch.cat([c, F.avg_pool2d(F.pad(a, (1, 1, 1, 1)), 3, 1)], 1))


class Linknet(nn.Module):
    """Skips by addition, transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv_bn(3, 8, 7, 2), conv_bn(8, 12, stride=2)
        self.up1 = nn.Sequential(conv_bn(12, 4, 1), nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), conv_bn(4, 8, 1))
        self.up2 = nn.Sequential(conv_bn(8, 4, 1), nn.ConvTranspose2d(4, 6, 2, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Conv2d(6, CLASSES, 1)

    def forward(self, image):
        a = self.a(image)
        return self.head(self.up2(self.up1(self.b(a)) + a))


class Odd(nn.Module):
    """Attributes and operators that the families have seldom: ceil mode, cubic resizing, sizes that do not divide,
    einsum, maxima, norms, log-sum-exp, gathers, cumulative sums, triangular masks."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 1))
        self.b = nn.Conv2d(8, 8, (1, 3), padding=(0, 3), dilation=(1, 3), groups=2, padding_mode="circular")
        self.mix = nn.Parameter(torch.randn(8, 8) * 0.3)
        self.power = nn.Parameter(torch.rand(8, 1, 1) + 0.5)
        self.table = nn.Parameter(torch.randn(11, 8) * 0.3)
        self.tokens = nn.Parameter(torch.randn(16, 16) * 0.2)
        self.register_buffer("order", torch.tensor([3, 0, 7, 1, 1, 10, 4, 2, 9, 5, 6, 8, 0, 3, 3, 2]))
        self.head = nn.Conv2d(9, CLASSES, 1)

    def forward(self, image):
        x = F.selu(self.a(image))
        x = F.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True, count_include_pad=False)
        x = x + F.interpolate(F.max_pool2d(x, 3, 2, ceil_mode=True), size=x.shape[2:], mode="bicubic", align_corners=False)
        x = F.interpolate(x, size=(16, 16), mode="nearest")
        x = torch.einsum("nchw,cd->ndhw", x, self.mix) + self.b(x)
        x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-3) + x.abs().add(0.1).pow(0.75) * self.power
        x = x + self.table[self.order].transpose(0, 1).unsqueeze(1)
        mask = torch.tril(torch.ones(16, 16, dtype=torch.bool))
        x = x + torch.matmul(x, torch.where(mask, self.tokens, torch.zeros(()))) - x.amax((2, 3), keepdim=True) * 0.1
        x = x - 0.2 * x.cumsum(2) / 16 + torch.minimum(x, x.flip(3)) * 0.3 + torch.maximum(x[:, :1], x[:, 1:2]).exp().log1p()
        score = torch.logsumexp(x, 1, keepdim=True) + torch.log_softmax(x, 1)[:, 2:3] + torch.sin(x[:, :1]) * torch.cos(x[:, 1:2])
        x = torch.cat([x, score - x.var(1, keepdim=True).sqrt()], 1)
        return F.interpolate(self.head(x), scale_factor=2.0, mode="bicubic", align_corners=True)


class Regression(nn.Module):
    """Every pixel by itself, two continuous outputs."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, 1), nn.ReLU())
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, image):
        return self.head(self.body(image))


# network -> (how it is made, the forms it is exported in)
MINIATURES = {
    "unet": (Unet, "ts17 ts9 tied17 tsfold17 dynamo18 dynamoraw18 function17 external17 ort17"),
    "unetpp": (UnetPlusPlus, "ts13 dynamo23"),
    "fpn": (Fpn, "ts17 dynamo20"),
    "psp": (lambda: Psp((1, 2, 4)), "ts11"),
    "psp_uneven": (lambda: Psp((1, 2, 3, 6)), "dynamo20 dynamoraw18"),
    "attentive": (Attentive, "ts18 dynamo20"),
    "deeplab": (Deeplab, "ts13 tsfold11 dynamo18"),
    "mobile": (Mobile, "ts17 ts13"),
    "convnext": (ConvNext, "ts17 ts20 dynamo23 tsfold13 ort17"),
    "segformer": (Segformer, "ts17 dynamo20 ort13"),
    "swin": (Swin, "ts17 dynamoraw20"),
    "vit": (Vit, "ts17"),
    "vit_fused": (lambda: Vit("fused"), "ts18 dynamo23 dynamoraw23"),
    "vit_bundled": (lambda: Vit("bundled"), "tsfold17 dynamoraw20 ort17"),
    "varied": (Varied, "ts17 dynamo20 dynamo23"),
    "linknet": (Linknet, "ts11"),
    "odd": (Odd, "ts17 dynamo20"),
    "regression": (Regression, "ts11"),
}
