import type { Api } from './api.ts'

/** Saves the answer of a path as a file. It fetches the path, because a link would not send the key. */
export async function saveFile(api: Api, path: string, tenant: string, name: string): Promise<void> {
  const { response } = await api.open(path, { tenant })
  await saveAnswer(response, name)
}

/** Saves the body of an answer as a file. */
export async function saveAnswer(response: Response, name: string): Promise<void> {
  const url = URL.createObjectURL(await response.blob())
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}
