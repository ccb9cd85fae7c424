import type { Api } from './api.ts'

/** Saves what a path answers as a file. It is fetched, not linked to, because a link would carry no key. */
export async function saveFile(api: Api, path: string, tenant: string, name: string): Promise<void> {
  const { response } = await api.open(path, { tenant })
  const url = URL.createObjectURL(await response.blob())
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}
